//! Names of types in documents: each must exist in the sources.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};

use crate::report;
use crate::sources::{read, rust_files};

/// The documents whose diagrams and code spans name types.
const DOCUMENTS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/glossary.md"];

/// Types of the standard library that the documents name.
const FOREIGN: &[&str] = &["None", "String"];

/// Returns whether a word is the name of a type: it has small letters and begins with a capital.
fn is_type(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_alphanumeric())
        && word.contains(|c: char| c.is_ascii_lowercase())
}

/// Returns whether a word is the name of a type and no word of English: it has two capitals.
fn is_camel_case(word: &str) -> bool {
    is_type(word) && word.matches(|c: char| c.is_ascii_uppercase()).count() >= 2
}

/// Returns the names of types in diagrams: in CamelCase, or before `::`. With `::`, the name of the
/// method or variant follows.
fn in_diagram(line: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = line.split(|c| !is_name(c)).map(|word| word.trim_matches(':'));
    let is_named =
        |word: &&str| word.split_once("::").map_or(is_camel_case(word), |(name, _)| is_type(name));
    words.filter(is_named).map(str::to_owned).collect()
}

/// Returns the names of types in the code spans of a line of text.
fn in_text(line: &str) -> Vec<String> {
    let spans = line.split('`').skip(1).step_by(2);
    let is_named = |span: &&str| {
        let (name, member) = span.split_once("::").unwrap_or((span, ""));
        is_type(name) && member.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    spans.filter(is_named).map(str::to_owned).collect()
}

/// Returns the names of types in a document.
fn named(document: &str) -> Vec<String> {
    let mut is_diagram = false;
    let mut names = Vec::new();
    for line in document.lines() {
        if line.starts_with("```") {
            is_diagram = !is_diagram;
        } else {
            names.extend(if is_diagram { in_diagram(line) } else { in_text(line) });
        }
    }
    names
}

/// Collects the types of a file, and their methods and variants as `Type::name`.
#[derive(Default)]
struct Types {
    names: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Types {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.names.insert(item.ident.to_string());
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        let name = &item.ident;
        self.names.extend(item.variants.iter().map(|one| format!("{name}::{}", one.ident)));
        self.names.insert(name.to_string());
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.names.insert(item.ident.to_string());
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        let name = &item.ident;
        for member in &item.items {
            if let syn::TraitItem::Fn(method) = member {
                self.names.insert(format!("{name}::{}", method.sig.ident));
            }
        }
        self.names.insert(name.to_string());
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let syn::Type::Path(path) = &*item.self_ty
            && let Some(name) = path.path.segments.last().map(|segment| &segment.ident)
        {
            for member in &item.items {
                if let syn::ImplItem::Fn(method) = member {
                    self.names.insert(format!("{name}::{}", method.sig.ident));
                }
            }
        }
        visit::visit_item_impl(self, item);
    }
}

/// Returns the names in `document` that neither the sources nor the standard library have.
fn missing(document: &str, types: &Types) -> Vec<String> {
    let is_known = |name: &String| types.names.contains(name) || FOREIGN.contains(&name.as_str());
    named(document).into_iter().filter(|name| !is_known(name)).collect()
}

#[test]
fn documents_name_existing_types() {
    let mut types = Types::default();
    for file in rust_files(&["src", "crates"]) {
        let parsed = syn::parse_file(&file.text);
        types.visit_file(&parsed.unwrap_or_else(|error| panic!("{}: {error}", file.path)));
    }
    let mut offences = Vec::new();
    for document in DOCUMENTS {
        let missing = missing(&read(document), &types);
        offences.extend(missing.iter().map(|name| format!("{document}: there is no type {name}")));
    }
    report(&offences);
}

#[test]
fn finds_types_that_do_not_exist() {
    let mut types = Types::default();
    let source = "struct Ack; impl Ack { fn send(&self) {} } enum BusEvent { Line(u8) }";
    types.visit_file(&syn::parse_file(source).unwrap());
    let text = "The `Ack` of the `Outbox`, `KINDS` and `a.rs`.\n\
        ```\nBus: BusEvent::Line, BusEvent::Lost, Ack::send, Ack::take (BusMessage)\n```\n";
    let missing = missing(text, &types);
    assert_eq!(missing, ["Outbox", "BusEvent::Lost", "Ack::take", "BusMessage"]);
}
