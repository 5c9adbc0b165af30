//! Which part of a value the query asks for.

use types::limits::RANGE_ITEMS_MAX;
use values::{Part, Score};

use crate::http::{HttpProblem, params::Query};

/// Every parameter.
pub(super) const PARAMETERS: &str = "part (whole, member, members, field or scores), and of the part: member; start, limit; field; min, max, skip, \
     limit, descending; read";

/// The part; parameters of another one stay in the query, which refuses them.
pub(super) fn of(query: &mut Query) -> Result<Part, HttpProblem> {
    let part = query.bytes("part");
    match part.as_deref().unwrap_or(b"whole") {
        b"whole" => Ok(Part::Whole),
        b"member" => Ok(Part::Member { member: needed(query, "member")? }),
        b"field" => Ok(Part::Field { field: needed(query, "field")? }),
        b"members" => Ok(Part::Members {
            start: query.bytes("start").unwrap_or_default(),
            limit: query.number("limit", RANGE_ITEMS_MAX)?,
        }),
        b"scores" => Ok(Part::Scores {
            min: score(query, "min")?,
            max: score(query, "max")?,
            skip: skip(query)?,
            limit: query.number("limit", RANGE_ITEMS_MAX)?,
            descending: query.flag("descending")?,
        }),
        other => Err(HttpProblem::invalid(
            format!("a value has no part {:?}", String::from_utf8_lossy(other)),
            "ask for part=whole, member, members, field or scores",
        )),
    }
}

fn needed(query: &mut Query, name: &str) -> Result<Vec<u8>, HttpProblem> {
    query.bytes(name).ok_or_else(|| {
        HttpProblem::invalid(format!("parameter {name} is missing"), format!("say which {name} is wanted"))
    })
}

fn score(query: &mut Query, name: &str) -> Result<Option<Score>, HttpProblem> {
    let Some(bytes) = query.bytes(name) else { return Ok(None) };
    let number = String::from_utf8_lossy(&bytes).parse().ok().and_then(|number| Score::new(number).ok());
    number.map(Some).ok_or_else(|| wrong(name, "a finite number"))
}

fn skip(query: &mut Query) -> Result<u64, HttpProblem> {
    let Some(bytes) = query.bytes("skip") else { return Ok(0) };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| wrong("skip", "one whole number from 0"))
}

fn wrong(name: &str, wanted: &str) -> HttpProblem {
    HttpProblem::invalid(format!("parameter {name} must be {wanted}"), "correct it, then send it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> Result<Part, HttpProblem> {
        let mut query = Query::of(&format!("/x?{text}").parse().unwrap())?;
        let part = of(&mut query)?;
        query.end(PARAMETERS)?;
        Ok(part)
    }

    #[test]
    fn parts_are_asked_for_by_name() {
        assert_eq!(part("").unwrap(), Part::Whole);
        assert_eq!(part("part=member&member=%ff").unwrap(), Part::Member { member: vec![0xff] });
        let members = Part::Members { start: b"b".to_vec(), limit: 2 };
        assert_eq!(part("part=members&start=b&limit=2").unwrap(), members);
        let Part::Scores { min, max, skip, descending, .. } =
            part("part=scores&min=-1.5&skip=3&descending=true").unwrap()
        else {
            panic!("they are scores")
        };
        assert_eq!((min.map(Score::get), max, skip, descending), (Some(-1.5), None, 3, true));
        for wrong in [
            "part=all",
            "part=member",
            "member=a",
            "part=field&member=a",
            "part=scores&min=NaN",
            "part=scores&max=inf",
            "part=scores&skip=-1",
            "part=members&limit=0",
        ] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }
}
