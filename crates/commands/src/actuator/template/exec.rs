//! Programs that a command starts.

use std::path::PathBuf;

use super::checks::{check_control_characters, check_levels, text};
use super::{Render, Variables, WriteError};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{Command, Execution, Write};
use tidegate_template::Template;

/// A program with the templates of its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecTemplate {
    /// The absolute path of the program; not a template.
    pub program: PathBuf,
    /// One template for each argument.
    pub arguments: Vec<Template>,
    /// The most bytes that the program may print.
    pub output_bytes_max: usize,
}

impl Render for ExecTemplate {
    fn render(&self, command: &Command, variables: &Variables<'_>) -> Result<Write, WriteError> {
        check_control_characters(command)?;
        let rendered = self.arguments.iter().map(|template| argument(template, variables));
        let arguments = rendered.collect::<Result<_, _>>()?;
        let (program, output_bytes_max) = (self.program.clone(), self.output_bytes_max);
        Ok(Write::Exec(Execution { program, arguments, output_bytes_max }))
    }
}

/// Renders one argument of a program.
///
/// If the template is a path, the result must not lead to another directory. An argument that
/// consists only of command data is not checked.
fn argument(template: &Template, variables: &Variables<'_>) -> Result<String, WriteError> {
    let (source, rendered) = (template.to_string(), text(template, variables)?);
    if !source.contains('/') || source == rendered {
        return Ok(rendered);
    }
    check_levels(template, &rendered)?;
    if rendered.split('/').any(|level| level == "..") {
        return Err(WriteError::Climbs { text: excerpt(rendered.as_bytes()) });
    }
    Ok(rendered)
}
