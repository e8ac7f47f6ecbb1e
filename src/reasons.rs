//! An error with the reasons behind it, in one line for people: each said once, and what is known said plainly.
//!
//! Many errors tell their source themselves, so that a chain that is only joined says everything twice.

use std::error::Error;

/// What TLS says of a certificate that people make first, and what it means for them.
const CA_AS_SERVER: &str = "Other(OtherError(CaUsedAsEndEntity))";
const CA_AS_SERVER_PLAINLY: &str = "it is the certificate of an authority and not of a server, as `openssl req -x509` makes \
                                    them; make it with `-addext basicConstraints=critical,CA:FALSE`, or let the authority \
                                    sign one for the server";

/// The error's words, then those of its sources that say more.
pub fn reasons(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        source = inner.source();
    }
    plainly(words)
}

/// Words of a library, said so that people know what to do.
pub fn plainly(words: String) -> String {
    if words.contains(CA_AS_SERVER) { words.replace(CA_AS_SERVER, CA_AS_SERVER_PLAINLY) } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Told {
        words: &'static str,
        source: Option<Box<Told>>,
    }

    fn told(words: &[&'static str]) -> Told {
        let (first, rest) = words.split_first().expect("words");
        Told { words: first, source: (!rest.is_empty()).then(|| Box::new(told(rest))) }
    }

    #[test]
    fn what_an_error_says_of_its_source_is_not_said_again() {
        let words = ["client error", "tcp connect error: refused (os error 111)", "refused (os error 111)"];
        assert_eq!(reasons(&told(&words)), "client error: tcp connect error: refused (os error 111)");
        assert_eq!(reasons(&told(&["cannot read", "no such file"])), "cannot read: no such file");
        assert_eq!(reasons(&told(&["alone"])), "alone");
    }

    #[test]
    fn a_certificate_that_says_it_is_an_authority_is_told_with_what_to_do() {
        let words = ["client error", "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))"];
        let said = reasons(&told(&words));
        assert!(
            said.starts_with("client error: invalid peer certificate: it is the certificate of"),
            "{said}"
        );
        assert!(said.contains("CA:FALSE") && !said.contains("OtherError"), "{said}");
    }
}
