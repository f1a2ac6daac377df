//! Values that need more escaping than others.

use crate::config::model::{RequestVariable, Variable};

/// Returns `true` if a value may contain any byte, because it was decoded or comes from a database.
/// All other values are parts of a request head, which contains no control characters.
#[must_use]
pub fn is_decoded(variable: &RequestVariable) -> bool {
    let is_decoded = |variable: &RequestVariable| {
        matches!(
            variable,
            RequestVariable::Uri
                | RequestVariable::Capture(_)
                | RequestVariable::HostCapture(_)
                | RequestVariable::Geo(_)
                | RequestVariable::RemoteUser
                | RequestVariable::Route
                | RequestVariable::Hostname
        )
    };
    match variable {
        RequestVariable::Own(own) => own.variables().any(|variable| {
            variable.any(&mut |variable| {
                matches!(variable, Variable::Request(variable) if is_decoded(variable))
            })
        }),
        variable => is_decoded(variable),
    }
}
