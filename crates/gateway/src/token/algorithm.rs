//! With what tokens are signed (RFC 7518 §3.1, RFC 8037 §3.1).

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    self, EcdsaVerificationAlgorithm, RsaParameters, VerificationAlgorithm,
};
use transom_settings::settings;

settings! {
    /// With what a token is signed.
    pub enum Algorithm {
        /// RSA with SHA-256.
        Rs256 = "RS256",
        /// RSA with SHA-384.
        Rs384 = "RS384",
        /// RSA with SHA-512.
        Rs512 = "RS512",
        /// RSA-PSS with SHA-256.
        Ps256 = "PS256",
        /// RSA-PSS with SHA-384.
        Ps384 = "PS384",
        /// RSA-PSS with SHA-512.
        Ps512 = "PS512",
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
        /// ECDSA on P-384 with SHA-384.
        Es384 = "ES384",
        /// ECDSA on P-521 with SHA-512.
        Es512 = "ES512",
        /// Ed25519.
        EdDsa = "EdDSA",
        /// HMAC with SHA-256.
        Hs256 = "HS256",
        /// HMAC with SHA-384.
        Hs384 = "HS384",
        /// HMAC with SHA-512.
        Hs512 = "HS512",
    }
}

impl Algorithm {
    /// Every one of them.
    pub const ALL: [Algorithm; 13] = [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::EdDsa,
        Algorithm::Hs256,
        Algorithm::Hs384,
        Algorithm::Hs512,
    ];

    /// The one of this name, in exactly this spelling (RFC 7515 §4.1.1). `none` is no algorithm.
    pub fn named(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|each| each.word() == name)
    }

    /// Of the algorithms with a secret.
    pub fn hmac(self) -> Option<hmac::Algorithm> {
        match self {
            Algorithm::Hs256 => Some(hmac::HMAC_SHA256),
            Algorithm::Hs384 => Some(hmac::HMAC_SHA384),
            Algorithm::Hs512 => Some(hmac::HMAC_SHA512),
            _ => None,
        }
    }

    /// Of RSA. Keys below 2048 bits are refused (RFC 7518 §3.3).
    pub(super) fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }

    /// Of curves: the algorithm, the name of its curve (RFC 7518 §6.2.1.1) and the bytes of one
    /// coordinate.
    pub(super) fn curve(
        self,
    ) -> Option<(&'static EcdsaVerificationAlgorithm, &'static str, usize)> {
        Some(match self {
            Algorithm::Es256 => (&signature::ECDSA_P256_SHA256_FIXED, "P-256", 32),
            Algorithm::Es384 => (&signature::ECDSA_P384_SHA384_FIXED, "P-384", 48),
            Algorithm::Es512 => (&signature::ECDSA_P521_SHA512_FIXED, "P-521", 66),
            _ => return None,
        })
    }

    /// Of the algorithms with a public key.
    pub(super) fn public(self) -> Option<&'static dyn VerificationAlgorithm> {
        match (self.rsa(), self.curve(), self) {
            (Some(rsa), _, _) => Some(rsa),
            (_, Some((curve, _, _)), _) => Some(curve),
            (_, _, Algorithm::EdDsa) => Some(&signature::ED25519),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_has_one_way_to_be_checked_and_its_exact_name() {
        for each in Algorithm::ALL {
            assert!(each.hmac().is_some() != each.public().is_some(), "{each}");
            assert_eq!(Algorithm::named(each.word()), Some(each));
        }
        for name in ["none", "None", "nOnE", "", "rs256", "RS256 ", "HS1", "RS1"] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }
}
