//! Signatures and names, checked on parsed code.

use syn::visit::{self, Visit};
use syn::{FnArg, Signature, Type};

use crate::report;
use crate::sources::{RUST, rust_files};

/// The longest name of a test, in letters.
const TEST_NAME_MAX: usize = 59;

/// Collects offences of one file.
struct Check {
    path: String,
    offences: Vec<String>,
}

impl Check {
    fn signature(&mut self, signature: &Signature) {
        for input in &signature.inputs {
            let FnArg::Typed(parameter) = input else { continue };
            if matches!(&*parameter.ty, Type::Tuple(tuple) if !tuple.elems.is_empty()) {
                let name = &signature.ident;
                self.offences.push(format!("{}: {name} has a tuple parameter", self.path));
            }
        }
        let name = signature.ident.to_string();
        if name.len() > TEST_NAME_MAX {
            self.offences.push(format!("{}: {name} has {} letters", self.path, name.len()));
        }
    }
}

impl<'ast> Visit<'ast> for Check {
    fn visit_signature(&mut self, signature: &'ast Signature) {
        self.signature(signature);
        visit::visit_signature(self, signature);
    }
}

fn check(path: &str, text: &str) -> Vec<String> {
    let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut check = Check { path: path.to_owned(), offences: Vec::new() };
    check.visit_file(&file);
    check.offences
}

#[test]
fn functions_have_named_parameters_and_short_names() {
    let files = rust_files(&RUST);
    let offences: Vec<_> = files.iter().flat_map(|file| check(&file.path, &file.text)).collect();
    report(&offences);
}

#[test]
fn finds_a_tuple_parameter() {
    let text = "impl A { fn f(&self, (a, b): (u8, u8)) {} } fn g(a: u8, f: fn((u8, u8))) {}";
    assert_eq!(check("a.rs", text), ["a.rs: f has a tuple parameter"]);
}
