//! How processes write what they say to each other beside the dataflow: who they are, then frames of JSON.
//!
//! ```text
//!   "thalweg" version │ length, 4 bytes, big endian │ JSON │ length │ JSON │ …
//!   ───── once ───────┴──────────── a frame ────────────────
//! ```

use std::io::{self, ErrorKind, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

const MAGIC: [u8; 7] = *b"thalweg";

/// The version of all that processes say to each other, timely's part included.
pub(super) const PROTOCOL: u8 = 1;

/// Who is at the other end of a fresh connection.
pub(super) enum Opening {
    /// Thalweg, with this version of the protocol.
    Thalweg(u8),
    /// Something else.
    Stranger,
}

pub(super) fn write_opening(mut to: impl Write) -> io::Result<()> {
    let mut opening = MAGIC.to_vec();
    opening.push(PROTOCOL);
    to.write_all(&opening)
}

pub(super) fn read_opening(mut from: impl Read) -> io::Result<Opening> {
    let mut opening = [0; MAGIC.len() + 1];
    from.read_exact(&mut opening)?;
    let [magic @ .., version] = opening;
    Ok(if magic == MAGIC { Opening::Thalweg(version) } else { Opening::Stranger })
}

/// Writes a frame, in one go.
pub(super) fn write(mut to: impl Write, frame: &impl Serialize) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, frame)?;
    let length = u32::try_from(bytes.len() - 4)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "a message of 4 GiB"))?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    to.write_all(&bytes)
}

/// Reads a frame of no more than `bytes_max` bytes.
pub(super) fn read<T: DeserializeOwned>(mut from: impl Read, bytes_max: u32) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > bytes_max {
        return Err(io::Error::new(ErrorKind::InvalidData, "a message that is too long"));
    }
    // Grows with what comes: a length alone allocates nothing.
    let mut bytes = Vec::new();
    from.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() < length as usize {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&bytes)?)
}

/// Whether nothing came in time.
pub(super) fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_one_by_one() {
        let mut bytes = Vec::new();
        write(&mut bytes, &"one").unwrap();
        write(&mut bytes, &vec![2, 3]).unwrap();
        let mut from = bytes.as_slice();
        assert_eq!(read::<String>(&mut from, 100).unwrap(), "one");
        assert_eq!(read::<Vec<i32>>(&mut from, 100).unwrap(), [2, 3]);
        assert_eq!(read::<String>(&mut from, 100).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(read::<String>(&bytes[..6], 100).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(read::<String>(bytes.as_slice(), 4).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(read::<u8>(bytes.as_slice(), 100).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn strangers_are_told_from_other_versions() {
        let mut opening = Vec::new();
        write_opening(&mut opening).unwrap();
        assert!(matches!(read_opening(opening.as_slice()), Ok(Opening::Thalweg(PROTOCOL))));
        assert!(matches!(read_opening(&b"thalweg\x07"[..]), Ok(Opening::Thalweg(7))));
        assert!(matches!(read_opening(&b"GET / HTTP/1.1"[..]), Ok(Opening::Stranger)));
        assert!(read_opening(&b"thal"[..]).is_err());
    }
}
