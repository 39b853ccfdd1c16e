//! Credit: how much one end may send before the other end has consumed it. Both ends count everything since the session
//! began. A credit message therefore carries the other end's total, not an increment. Pure. Deliberately absent:
//! waiting for credit. A sender without credit ends the session and reconciles in the next one.

/// Frames and their bytes since the session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Frames.
    pub frames: u64,
    /// Bytes of whole frames.
    pub bytes: u64,
}

impl Amount {
    /// The body of a credit frame: both numbers, big-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.frames.to_be_bytes());
        bytes[8..].copy_from_slice(&self.bytes.to_be_bytes());
        bytes
    }

    /// Reads the body of a credit frame; a later minor version may append to it.
    pub fn of(body: &[u8]) -> Option<Self> {
        let (frames, rest) = body.split_first_chunk()?;
        let bytes = rest.first_chunk()?;
        Some(Self { frames: u64::from_be_bytes(*frames), bytes: u64::from_be_bytes(*bytes) })
    }

    fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    fn within(self, other: Self) -> bool {
        self.frames <= other.frames && self.bytes <= other.bytes
    }

    /// The difference between `self` and `earlier`, which is not larger.
    fn since(self, earlier: Self) -> Self {
        Self { frames: self.frames - earlier.frames, bytes: self.bytes - earlier.bytes }
    }
}

/// A credit that no honest peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a credit for frames that were not sent")]
pub struct FalseCredit;

/// Counts what this end sent.
#[derive(Debug)]
pub struct Outgoing {
    window: Amount,
    sent: Amount,
    consumed: Amount,
}

impl Outgoing {
    /// Starts with nothing sent; at most `window` may be in flight.
    pub fn new(window: Amount) -> Self {
        Self { window, sent: Amount::default(), consumed: Amount::default() }
    }

    /// Counts a frame as sent, if there is credit for it.
    pub fn take(&mut self, bytes: usize) -> bool {
        let mut sent = self.sent;
        sent.add(bytes);
        let fits = sent.since(self.consumed).within(self.window);
        if fits {
            self.sent = sent;
        }
        fits
    }

    /// The other end has consumed this total.
    ///
    /// # Errors
    /// The total is not larger than before, or larger than what was sent.
    pub fn credit(&mut self, consumed: Amount) -> Result<(), FalseCredit> {
        let more = self.consumed.within(consumed) && consumed != self.consumed;
        if !more || !consumed.within(self.sent) {
            return Err(FalseCredit);
        }
        self.consumed = consumed;
        Ok(())
    }
}

/// Counts what the other end sent.
#[derive(Debug)]
pub struct Incoming {
    window: Amount,
    received: Amount,
    consumed: Amount,
    told: Amount,
}

impl Incoming {
    /// Starts with nothing received; at most `window` may be unconsumed.
    pub fn new(window: Amount) -> Self {
        Self { window, received: Amount::default(), consumed: Amount::default(), told: Amount::default() }
    }

    /// Counts a frame as received; false when the sender had no credit for it.
    pub fn receive(&mut self, bytes: usize) -> bool {
        self.received.add(bytes);
        self.received.since(self.consumed).within(self.window)
    }

    /// Counts a frame as consumed. Returns the credit to send, once a quarter of the window was consumed.
    pub fn consume(&mut self, bytes: usize) -> Option<Amount> {
        self.consumed.add(bytes);
        let Amount { frames, bytes } = self.consumed.since(self.told);
        let due = frames * 4 >= self.window.frames || bytes * 4 >= self.window.bytes;
        due.then(|| {
            self.told = self.consumed;
            self.told
        })
    }
}

/// Both directions of one session.
#[derive(Debug)]
pub struct Ledger {
    /// What this end sent.
    pub outgoing: Outgoing,
    /// What the other end sent.
    pub incoming: Incoming,
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const WINDOW: Amount = Amount { frames: 8, bytes: 1000 };

    #[test]
    fn nothing_is_sent_beyond_the_window() {
        let mut outgoing = Outgoing::new(WINDOW);
        assert!((0..8).all(|_| outgoing.take(10)));
        assert!(!outgoing.take(10), "the ninth frame");
        outgoing.credit(Amount { frames: 8, bytes: 80 }).unwrap();
        assert!(!outgoing.take(1001), "too many bytes");
        assert!(outgoing.take(1000));
    }

    #[test]
    fn golden_bytes() {
        let amount = Amount { frames: 1, bytes: 0x0203 };
        assert_eq!(amount.to_bytes(), *b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x02\x03");
        assert_eq!(Amount::of(&[amount.to_bytes().as_slice(), b"more"].concat()), Some(amount));
        assert_eq!(Amount::of(&[0; 15]), None);
    }

    #[test]
    fn a_false_credit_is_seen() {
        let mut outgoing = Outgoing::new(WINDOW);
        assert!(outgoing.take(10));
        assert_eq!(outgoing.credit(Amount::default()), Err(FalseCredit), "nothing new");
        assert_eq!(outgoing.credit(Amount { frames: 1, bytes: 11 }), Err(FalseCredit), "more than was sent");
        outgoing.credit(Amount { frames: 1, bytes: 10 }).unwrap();
        assert_eq!(outgoing.credit(Amount { frames: 0, bytes: 10 }), Err(FalseCredit), "back");
    }

    proptest! {
        /// Two honest ends: the receiver never sees more than the window, and a sender without credit continues as soon
        /// as everything was consumed and acknowledged.
        #[test]
        fn honest_ends_agree(steps in prop::collection::vec((any::<bool>(), 1_usize..400), 0..200)) {
            let (mut outgoing, mut incoming) = (Outgoing::new(WINDOW), Incoming::new(WINDOW));
            let mut unconsumed = VecDeque::new();
            for (send, bytes) in steps {
                if send {
                    if outgoing.take(bytes) {
                        prop_assert!(incoming.receive(bytes));
                        unconsumed.push_back(bytes);
                    }
                } else if let Some(consumed) = unconsumed.pop_front() && let Some(credit) = incoming.consume(consumed) {
                    prop_assert_eq!(outgoing.credit(credit), Ok(()));
                }
            }
            for consumed in unconsumed {
                if let Some(credit) = incoming.consume(consumed) {
                    prop_assert_eq!(outgoing.credit(credit), Ok(()));
                }
            }
            prop_assert!(outgoing.take(500), "what is not yet said is below a quarter");
        }
    }
}
