//! What is kept of a token's secret. Beside the token's text, so that this can be read without a library of cryptography.
//! Deliberately absent: where it is kept.

use crate::TokenSecret;

impl TokenSecret {
    /// What is kept of it: SHA-256. A secret of 128 random bits needs no salt and no slow hash.
    pub fn hash(&self) -> [u8; 32] {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.0);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        bytes
    }

    /// Is this the secret with that hash? Takes the same time whatever the answer.
    pub fn has_hash(&self, hash: &[u8; 32]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.hash(), hash).is_ok()
    }
}
