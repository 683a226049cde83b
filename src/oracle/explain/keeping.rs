//! A trace that can be read only once, kept while it is read, up to a bound.

use std::io::{self, BufRead, Read};

/// Beyond so many bytes nothing is kept.
pub const KEPT_MAX_BYTES: usize = 16 << 20;

/// Reads on, and keeps what was read.
#[derive(Debug)]
pub struct Keeping<R> {
    reader: R,
    /// `None`: it was too much.
    kept: Option<Vec<u8>>,
}

impl<R: BufRead> Keeping<R> {
    /// Of `reader`, from where it is.
    pub const fn new(reader: R) -> Keeping<R> {
        Keeping {
            reader,
            kept: Some(Vec::new()),
        }
    }

    /// What was read, from its beginning; `None`: it was too much.
    pub fn kept(&self) -> Option<&[u8]> {
        self.kept.as_deref()
    }

    /// What was read, and the reader of the rest.
    pub fn into_parts(self) -> (Option<Vec<u8>>, R) {
        (self.kept, self.reader)
    }

    fn keep(kept: &mut Option<Vec<u8>>, read: &[u8]) {
        if let Some(all) = kept {
            if all.len() + read.len() > KEPT_MAX_BYTES {
                *kept = None;
            } else {
                all.extend_from_slice(read);
            }
        }
    }
}

impl<R: BufRead> Read for Keeping<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        Self::keep(&mut self.kept, &buffer[..count]);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Keeping<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if self.kept.is_some()
            // It is there: whoever consumes it has just been shown it.
            && let Ok(read) = self.reader.fill_buf()
        {
            let count = count.min(read.len());
            Self::keep(&mut self.kept, &read[..count]);
        }
        self.reader.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_kept_and_nothing_else() {
        let mut keeping = Keeping::new(&b"one\ntwo\nthree"[..]);
        let mut line = String::new();
        keeping.read_line(&mut line).unwrap();
        let mut two = [0; 2];
        keeping.read_exact(&mut two).unwrap();
        assert_eq!((line.as_str(), &two), ("one\n", b"tw"));
        assert_eq!(keeping.kept(), Some(&b"one\ntw"[..]));
    }

    #[test]
    fn too_much_is_let_go_of_and_read_on() {
        let endless = io::repeat(b'x').take(KEPT_MAX_BYTES as u64 + 1);
        let mut keeping = Keeping::new(io::BufReader::new(endless));
        let read = io::copy(&mut keeping, &mut io::sink()).unwrap();
        assert_eq!(read, KEPT_MAX_BYTES as u64 + 1);
        assert_eq!(keeping.kept(), None);
    }
}
