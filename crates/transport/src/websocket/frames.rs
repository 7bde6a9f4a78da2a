/// Counts the frames in a client's bytes that begin no message: its further fragments, pings,
/// pongs, the goodbye. Messages have a pace of their own; these say nothing and cost as much to
/// read.
///
/// It assumes that every frame is masked, as a client's have to be: an unmasked one ends the
/// connection when it is read.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes of the current frame's header that have come.
    seen: u8,
    /// Where the header's length ends and its mask begins; known when two bytes have come.
    lengths: u8,
    /// Bytes of the payload that have yet to come.
    payload: u64,
    counted: u32,
}

/// Bytes of a mask.
const MASK: u8 = 4;

impl Frames {
    /// Takes what came, cut anywhere.
    pub(super) fn receive(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.seen < 2 || self.seen < self.lengths + MASK {
                self.header(first);
                bytes = rest;
            } else {
                let skipped = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
                self.payload -= skipped as u64;
                bytes = &bytes[skipped..];
            }
            if self.seen == self.lengths + MASK && self.payload == 0 {
                *self = Self { counted: self.counted, ..Self::default() };
            }
        }
    }

    /// Those that were counted since this was last asked.
    pub(super) fn take(&mut self) -> u32 {
        std::mem::take(&mut self.counted)
    }

    fn header(&mut self, byte: u8) {
        match self.seen {
            // 1 and 2: a message begins, as text or binary.
            0 => self.counted += u32::from(!matches!(byte & 0x0f, 1 | 2)),
            1 => {
                (self.lengths, self.payload) = match byte & 0x7f {
                    126 => (2 + 2, 0),
                    127 => (2 + 8, 0),
                    length => (2, length.into()),
                };
            }
            seen if seen < self.lengths => self.payload = self.payload << 8 | u64::from(byte),
            _ => {}
        }
        self.seen += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_the_same_however_the_bytes_are_cut(
            frames in prop::collection::vec(
                (0_u8..16, prop_oneof![Just(0_u64), 0_u64..126, 126_u64..300, 65_536_u64..65_600]),
                1..12,
            ),
            step in 1_usize..600,
        ) {
            let mut bytes = Vec::new();
            for (opcode, length) in &frames {
                bytes.push(0x80 | opcode);
                match (u8::try_from(*length), u16::try_from(*length)) {
                    (Ok(short), _) if short < 126 => bytes.push(0x80 | short),
                    (_, Ok(medium)) => {
                        bytes.push(0x80 | 126);
                        bytes.extend(medium.to_be_bytes());
                    }
                    _ => {
                        bytes.push(0x80 | 127);
                        bytes.extend(length.to_be_bytes());
                    }
                }
                bytes.extend([0xff; MASK as usize]);
                // Each byte of it would pass for the beginning of a frame.
                bytes.extend((0..*length).map(|_| 0x80));
            }
            let mut counter = Frames::default();
            let mut counted = 0;
            for piece in bytes.chunks(step) {
                counter.receive(piece);
                counted += counter.take();
            }
            let expected = frames.iter().filter(|(opcode, _)| !matches!(opcode, 1 | 2)).count();
            prop_assert_eq!(usize::try_from(counted).unwrap_or_default(), expected);
        }
    }
}
