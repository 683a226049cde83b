//! Compressed traces: gzip and Zstandard, known by their first bytes, unpacked as they are read.
//!
//! Nothing is held but the formats' windows (32 KiB, and up to 128 MiB where a Zstandard frame asks for so
//! much), however much comes out. Several streams on end are one trace, as the tools have it.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How much is unpacked at a time, bytes.
const BUFFER_BYTES: usize = 1 << 18;

/// Endings of the names of compressed files.
pub const ENDINGS: [&str; 3] = ["gz", "zst", "zstd"];

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A frame to be skipped, which may come first; its lowest four bits are free.
const ZSTD_SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

/// A trace, unpacked if it was packed.
pub struct Unpacked<'a> {
    /// What is in it.
    pub reader: Box<dyn BufRead + 'a>,
    ended: Ended,
}

/// How a compressed stream ended.
#[derive(Clone, Default)]
pub struct Ended(Rc<Cell<bool>>);

impl Ended {
    /// It ended too early: it was cut.
    pub fn is_cut(&self) -> bool {
        self.0.get()
    }
}

impl Unpacked<'_> {
    /// How it ends, once it has.
    pub fn ended(&self) -> Ended {
        self.ended.clone()
    }
}

/// Looks at the first bytes of `reader`, and unpacks what follows if they are those of a compressed
/// stream.
///
/// # Errors
/// It cannot be read.
pub fn unpack<'a>(mut reader: impl BufRead + 'a) -> io::Result<Unpacked<'a>> {
    let mut first = Vec::with_capacity(4);
    // From a pipe they may come one by one.
    (&mut reader).take(4).read_to_end(&mut first)?;
    let skippable = first.len() == 4
        && first[0] & 0xf0 == ZSTD_SKIPPABLE[0]
        && first[1..] == ZSTD_SKIPPABLE[1..];
    let gzip = first.starts_with(&GZIP);
    let zstd = first == ZSTD || skippable;
    let ended = Ended::default();
    let reader = Cursor::new(first).chain(reader);
    let reader: Box<dyn BufRead + 'a> = if gzip {
        unpacked(
            MultiGzDecoder::new(Source::new(reader, &ended)),
            &ended,
            "gzip",
        )
    } else if zstd {
        unpacked(
            Frames::new(Source::new(reader, &ended)),
            &ended,
            "Zstandard",
        )
    } else {
        Box::new(reader)
    };
    Ok(Unpacked { reader, ended })
}

fn unpacked<'a>(inner: impl Read + 'a, ended: &Ended, name: &'static str) -> Box<dyn BufRead + 'a> {
    let decoder = Decoder {
        inner,
        ended: ended.clone(),
        name,
        over: false,
    };
    Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
}

/// What is compressed; tells when it has been read to its end.
struct Source<R> {
    reader: R,
    ended: Ended,
}

impl<R: BufRead> Source<R> {
    fn new(reader: R, ended: &Ended) -> Source<R> {
        Source {
            reader,
            ended: ended.clone(),
        }
    }
}

impl<R: BufRead> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.ended.0.set(read == 0 && !buffer.is_empty());
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let buffer = self.reader.fill_buf()?;
        self.ended.0.set(buffer.is_empty());
        Ok(buffer)
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

/// What comes out of a decoder. One that fails at the end of its source was cut, which ends the trace;
/// one that fails before is damaged, which is an error.
struct Decoder<D> {
    inner: D,
    ended: Ended,
    name: &'static str,
    over: bool,
}

impl<D: Read> Read for Decoder<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.over {
            return Ok(0);
        }
        match self.inner.read(buffer) {
            Ok(0) if !buffer.is_empty() => {
                self.over = true;
                self.ended.0.set(false);
                Ok(0)
            }
            Ok(read) => Ok(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(_) if self.ended.is_cut() => {
                self.over = true;
                Ok(0)
            }
            // The system's own.
            Err(error) if error.raw_os_error().is_some() => Err(error),
            Err(error) => {
                self.over = true;
                let what = format!("the {} stream is damaged ({error})", self.name);
                Err(io::Error::new(io::ErrorKind::InvalidData, what))
            }
        }
    }
}

/// The frames of a Zstandard file, one after the other.
struct Frames<R> {
    source: Source<R>,
    decoder: FrameDecoder,
    /// A frame is being read.
    open: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: Source<R>) -> Frames<R> {
        Frames {
            source,
            decoder: FrameDecoder::new(),
            open: false,
        }
    }

    /// Goes to the next frame with something in it; `false` at the end.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.open = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.open && !self.begin()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.open = false;
            let sums = (
                self.decoder.get_checksum_from_data(),
                self.decoder.get_calculated_checksum(),
            );
            if let (Some(written), Some(computed)) = sums
                && written != computed
            {
                return Err(io::Error::other("its checksum does not match"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write as _;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    /// What comes out, and whether it was cut.
    fn read(bytes: &[u8]) -> (io::Result<Vec<u8>>, bool) {
        let mut unpacked = unpack(BufReader::with_capacity(1, bytes)).unwrap();
        let mut read = Vec::new();
        let result = unpacked.reader.read_to_end(&mut read);
        (result.map(|_| read), unpacked.ended().is_cut())
    }

    #[test]
    fn what_is_packed_is_unpacked_and_the_rest_left_alone() {
        let text: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| (n % 977).to_le_bytes())
            .collect();
        let mut skippable = ZSTD_SKIPPABLE.to_vec();
        skippable.extend([3, 0, 0, 0, 9, 9, 9]);
        skippable.extend(zstd(&text));
        for (packed, plain) in [
            (text.clone(), text.clone()),
            (Vec::new(), Vec::new()),
            (vec![0x1f], vec![0x1f]),
            (gzip(&text), text.clone()),
            (zstd(&text), text.clone()),
            (skippable, text.clone()),
            (gzip(b""), Vec::new()),
            ([gzip(b"a"), gzip(b"b")].concat(), b"ab".to_vec()),
            ([zstd(b"a"), zstd(b"b")].concat(), b"ab".to_vec()),
        ] {
            let (unpacked, cut) = read(&packed);
            assert!(unpacked.unwrap() == plain && !cut);
        }
    }

    #[test]
    fn a_stream_cut_anywhere_yields_what_was_before_and_says_so() {
        let text = b"one line\nanother line\n".repeat(50);
        for packed in [gzip(&text), zstd(&text)] {
            for end in 5..packed.len() {
                let (unpacked, cut) = read(&packed[..end]);
                assert!(text.starts_with(&unpacked.unwrap()), "{end}");
                assert!(cut, "{end} of {}", packed.len());
            }
        }
    }

    #[test]
    fn a_damaged_stream_is_an_error_that_says_so() {
        let text: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        for mut packed in [gzip(&text), zstd(&text)] {
            // Not the last bytes, behind which the stream may seem cut.
            let end = packed.len() - 1;
            packed[end - 1] ^= 0x55;
            packed.extend_from_slice(&text[..100]);
            let error = read(&packed).0.unwrap_err().to_string();
            assert!(error.contains("stream is damaged"), "{error}");
        }
    }
}
