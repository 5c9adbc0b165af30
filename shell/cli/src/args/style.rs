//! Colours of the help text. Only a terminal sees them.

use anstyle::{AnsiColor, Style};
use clap::builder::Styles;

/// Headings stand out, what is typed is coloured.
pub const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Green.on_default());
