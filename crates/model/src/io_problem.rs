//! Words for an input or output error that a person reads.

use std::error::Error as StdError;
use std::io::{Error, ErrorKind};

/// Describes an error of the operating system in a few plain words, without its number.
pub fn io_problem(error: &Error) -> String {
    let Some(inner) = error.get_ref() else { return of_kind(error, &error.to_string()) };
    // An error of a library: the cause of the operating system inside it is the better text.
    let mut cause: Option<&(dyn StdError + 'static)> = Some(inner);
    while let Some(one) = cause {
        if let Some(inner) = one.downcast_ref::<Error>() {
            return io_problem(inner);
        }
        cause = one.source();
    }
    of_kind(error, &inner.to_string())
}

fn of_kind(error: &Error, text: &str) -> String {
    let is_from_system = error.raw_os_error().is_some() || error.get_ref().is_none();
    match known(error.kind()) {
        Some(words) if is_from_system => words.to_owned(),
        Some(_) | None => without_number(text),
    }
}

fn known(kind: ErrorKind) -> Option<&'static str> {
    let words = [
        (ErrorKind::NotFound, "no such file or directory"),
        (ErrorKind::PermissionDenied, "permission denied"),
        (ErrorKind::ConnectionRefused, "connection refused"),
        (ErrorKind::ConnectionReset, "the other side reset the connection"),
        (ErrorKind::ConnectionAborted, "the connection was aborted"),
        (ErrorKind::NotConnected, "there is no connection"),
        (ErrorKind::AddrInUse, "another program uses this address"),
        (ErrorKind::AddrNotAvailable, "this computer does not have this address"),
        (ErrorKind::BrokenPipe, "the other side closed the connection"),
        (ErrorKind::UnexpectedEof, "the other side closed the connection early"),
        (ErrorKind::AlreadyExists, "it exists already"),
        (ErrorKind::TimedOut, "timed out"),
        (ErrorKind::HostUnreachable, "the host cannot be reached"),
        (ErrorKind::NetworkUnreachable, "the network cannot be reached"),
        (ErrorKind::NetworkDown, "the network is down"),
        (ErrorKind::IsADirectory, "it is a directory"),
        (ErrorKind::NotADirectory, "a part of the path is not a directory"),
        (ErrorKind::StorageFull, "the disk is full"),
        (ErrorKind::QuotaExceeded, "the quota of the disk is used up"),
        (ErrorKind::ReadOnlyFilesystem, "the file system is read-only"),
        (ErrorKind::ResourceBusy, "another program uses it"),
        (ErrorKind::ExecutableFileBusy, "the program file is being written"),
        (ErrorKind::OutOfMemory, "there is no memory left"),
        (ErrorKind::InvalidData, "its content is not valid"),
    ];
    words.iter().find(|(one, _)| *one == kind).map(|(_, words)| *words)
}

/// Returns the text in lower case at its start, and without `(os error 5)` at its end.
fn without_number(text: &str) -> String {
    if text.contains("failed to lookup address information") {
        return "the host name cannot be resolved".to_owned();
    }
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut characters = text.chars();
    let first = characters.next();
    let is_sentence = characters.clone().next().is_some_and(char::is_lowercase);
    match first {
        Some(first) if is_sentence => format!("{}{}", first.to_lowercase(), characters.as_str()),
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_have_words_and_no_number() {
        for (number, expected) in [
            (2, "no such file or directory"),
            (13, "permission denied"),
            (104, "the other side reset the connection"),
            (111, "connection refused"),
            (113, "the host cannot be reached"),
            (28, "the disk is full"),
            (5, "input/output error"),
            (71, "protocol error"),
        ] {
            assert_eq!(io_problem(&Error::from_raw_os_error(number)), expected);
        }
        for number in 1..134 {
            let words = io_problem(&Error::from_raw_os_error(number));
            assert!(!words.contains("os error") && !words.is_empty(), "{number}: {words}");
        }
    }

    #[test]
    fn errors_of_libraries_show_their_cause() {
        let own = Error::other("it has more than 5 bytes");
        assert_eq!(io_problem(&own), "it has more than 5 bytes");
        let nested = Error::other(Error::from_raw_os_error(104));
        assert_eq!(io_problem(&nested), "the other side reset the connection");
        let lookup = "failed to lookup address information: Name or service not known";
        assert_eq!(io_problem(&Error::other(lookup)), "the host name cannot be resolved");
        let invalid = Error::new(ErrorKind::InvalidData, "invalid peer certificate: Expired");
        assert_eq!(io_problem(&invalid), "invalid peer certificate: Expired");
    }
}
