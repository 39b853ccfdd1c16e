//! The stored hash of a token's secret. It is separate from the token's text, so that the text can be parsed without a
//! cryptography library. Deliberately absent: the place where the hash is stored.

use crate::TokenSecret;

impl TokenSecret {
    /// The stored hash of the secret: SHA-256. A secret of 128 random bits needs no salt and no slow hash.
    pub fn hash(&self) -> [u8; 32] {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.0);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        bytes
    }

    /// Whether the secret has this hash. Takes the same time whatever the answer.
    pub fn has_hash(&self, hash: &[u8; 32]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.hash(), hash).is_ok()
    }
}
