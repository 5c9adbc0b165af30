//! Values, operations, answers and parts as bytes; the layout is `docs/internals/command-format.md`.
//!
//! A value has exactly one encoding, so that replicas which agree on it agree on its bytes. Whatever is read strictly
//! has it: another spelling of a number, another order, a piece that no operation puts there, or a byte more is an
//! error. Reading allocates a small multiple of the input, whatever its length fields claim.

mod bytes;
mod operations;
mod shown;
mod values;

pub use operations::{decode_answers, decode_operations, encode_answers, encode_operations};
pub use operations::{decode_refusal, encode_refusal};
pub use shown::{decode_part, decode_shown, encode_part, encode_shown};
pub use values::{decode_value, encode_value};

/// The bytes are not what they were taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It ends too soon.
    #[error("it ends within a field")]
    Short,
    /// It goes on where it should end.
    #[error("there are {bytes} bytes too many")]
    Long {
        /// How many.
        bytes: usize,
    },
    /// Written by another version of the software. Use one that knows it.
    #[error("a value of format version {version}, this build knows {}", values::FORMAT_VERSION)]
    Version {
        /// The version found.
        version: u8,
    },
    /// Damaged, or of a newer version.
    #[error("{what} is not one that this build writes")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

pub(crate) fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed { what }
}

/// The number of a kind of value.
pub fn kind_number(kind: crate::Kind) -> u8 {
    match kind {
        crate::Kind::Register => 1,
        crate::Kind::Counter => 2,
        crate::Kind::Set => 3,
        crate::Kind::Map => 4,
        crate::Kind::SortedSet => 5,
    }
}

/// The kind of a number.
pub fn kind_of_number(number: u8) -> Option<crate::Kind> {
    crate::Kind::ALL.iter().copied().find(|kind| kind_number(*kind) == number)
}
