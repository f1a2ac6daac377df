//! What holds in a place: nginx's blocks inherit from the blocks around them.

use super::tree::Directive;

/// A block and the blocks around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'s> {
    directives: &'s [Directive],
    around: Option<&'s Scope<'s>>,
}

impl<'s> Scope<'s> {
    /// A block that nothing is around.
    pub(super) fn outermost(directives: &'s [Directive]) -> Self {
        Scope {
            directives,
            around: None,
        }
    }

    /// A block within this one.
    pub(super) fn inner(&'s self, block: &'s Directive) -> Scope<'s> {
        Scope {
            directives: block.inside(),
            around: Some(self),
        }
    }

    /// The directives of this block alone.
    pub(super) fn here(&self, name: &str) -> impl Iterator<Item = &'s Directive> {
        self.directives.iter().filter(move |d| d.name == name)
    }

    /// All directives of this block alone.
    pub(super) fn directives(&self) -> &'s [Directive] {
        self.directives
    }

    /// The one that holds here, of this block or of those around it.
    pub(super) fn one(&self, name: &str) -> Option<&'s Directive> {
        let here = self.here(name).last();
        here.or_else(|| self.around.and_then(|scope| scope.one(name)))
    }

    /// Those that hold here. A block that has any has none of those around it.
    pub(super) fn all(&self, name: &str) -> Vec<&'s Directive> {
        let here: Vec<_> = self.here(name).collect();
        match self.around {
            Some(around) if here.is_empty() => around.all(name),
            _ => here,
        }
    }

    /// Those of this block and of the blocks within it.
    pub(super) fn everywhere(&self, name: &str) -> Vec<&'s Directive> {
        let mut found = Vec::new();
        collect(self.directives, name, &mut found);
        found
    }
}

/// Blocks in which directives of requests stand.
const WITH_REQUESTS: [&str; 5] = ["http", "server", "location", "if", "limit_except"];

fn collect<'d>(directives: &'d [Directive], name: &str, found: &mut Vec<&'d Directive>) {
    for directive in directives {
        if directive.name == name {
            found.push(directive);
        }
        if WITH_REQUESTS.contains(&directive.name.as_str()) {
            collect(directive.inside(), name, found);
        }
    }
}
