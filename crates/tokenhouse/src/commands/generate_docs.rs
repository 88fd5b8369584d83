//! `tokenhouse generate-docs`: writes the reference pages.
//!
//! The one thing to know: hidden, because only the project itself needs it; a test fails when the pages are not current.

use std::fs;

use crate::cli::GenerateDocsArguments;
use crate::docs;
use crate::exit::Failure;

/// Writes every page.
pub(super) fn run(arguments: &GenerateDocsArguments) -> Result<(), Failure> {
    fs::create_dir_all(&arguments.into).map_err(Failure::failed)?;
    for (name, text) in docs::pages() {
        let path = arguments.into.join(name);
        fs::write(&path, text)
            .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}
