//! Texts in HTML and SVG.

/// A text as it may stand in an element or an attribute.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // No control character but these may stand in XML.
            character if character.is_control() && !"\n\t".contains(character) => safe.push('\u{fffd}'),
            character => safe.push(character),
        }
    }
    safe
}

/// JSON as it may stand in a script element: nothing in it ends the element.
pub fn script_json(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

/// Milliseconds as a person reads them.
pub fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

/// A number with blanks between thousands.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_recorded_becomes_markup() {
        assert_eq!(escape("<b a=\"1\">&'\u{1}"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;\u{fffd}");
        assert!(!script_json(&serde_json::json!("</script>")).contains("</"));
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!(
            (number(7), number(1_234), number(1_234_567)),
            ("7".into(), "1,234".into(), "1,234,567".into())
        );
    }
}
