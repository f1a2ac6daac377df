//! Paths of files and scripts for the path of a request.

use std::sync::Arc;

use crate::config::model::{Files, Part, RequestVariable, Template};
use crate::gateway::request::variables::{View, split_query};
use crate::gateway::respond::files::{FileRequest, Lookup, Paths, Tried};
use crate::gateway::route::path_readings::normalize_decoded;
use crate::gateway::route::{Rewrite, RewrittenPart, target};
use crate::proto::headers::Headers;
use crate::query;

/// Request for the file of a normalised path; `None` if a path is invalid.
pub fn file_request<H: Headers>(
    files: &Arc<Files>,
    normal: &[u8],
    rewrite: Option<&Rewrite>,
    view: &View<H>,
) -> Option<FileRequest> {
    let paths = match &files.tried {
        None => Paths::One(file_path(normal, rewrite, view)?),
        Some(templates) => {
            let tried = templates
                .iter()
                .map(|template| tried_path(template, rewrite, view));
            Paths::First(tried.collect::<Option<Vec<_>>>()?)
        }
    };
    Some(FileRequest {
        files: Arc::clone(files),
        lookup: Lookup::Paths(paths),
    })
}

/// Path to try; `None` if the rewritten one is invalid. A template that ends in a slash is a folder's.
fn tried_path<H: Headers>(
    template: &Template<RequestVariable>,
    rewrite: Option<&Rewrite>,
    view: &View<H>,
) -> Option<Tried> {
    let text = view.expand(template);
    let is_folder = match template.parts().last() {
        Some(Part::Text(end)) => end.ends_with('/'),
        Some(Part::Variable(_)) | None => false,
    };
    let text = match text.strip_suffix(b"/") {
        Some(b"") => b"/",
        Some(path) if is_folder => path,
        _ => &text[..],
    };
    let path = file_path(&normalize_decoded(text), rewrite, view)?;
    Some(if is_folder {
        Tried::Folder(path)
    } else {
        Tried::File(path)
    })
}

/// Path of the file for a path of requests; `None` if the rewritten one is invalid.
pub fn file_path<H: Headers>(
    normal: &[u8],
    rewrite: Option<&Rewrite>,
    view: &View<H>,
) -> Option<Vec<u8>> {
    let Some(rewrite) = rewrite else {
        return Some(normal.to_vec());
    };
    let named = target::rewritten(rewrite, view, normal, None)?;
    let named = query::normalize(split_query(&named).0);
    // The prefix itself names a folder without the trailing slash, whatever it is replaced by.
    if rewrite.part == RewrittenPart::Segments(normal.len()) && !normal.ends_with(b"/") {
        let named = &named[..];
        return Some(named.strip_suffix(b"/").unwrap_or(named).to_vec());
    }
    Some(named.into_owned())
}
