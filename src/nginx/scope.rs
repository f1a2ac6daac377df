//! Scopes: the directives that are in effect in a block. Blocks of nginx inherit from the blocks
//! around them.

use super::tree::{Block, Directive};

/// A block and the blocks around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'s> {
    directives: &'s Block,
    block: Option<&'s Directive>,
    around: Option<&'s Scope<'s>>,
}

impl<'s> Scope<'s> {
    /// Returns the scope of the outermost block.
    pub(super) fn outermost(directives: &'s Block) -> Self {
        Scope {
            directives,
            block: None,
            around: None,
        }
    }

    /// Returns the scope of a block within this one.
    pub(super) fn inner(&'s self, block: &'s Directive) -> Scope<'s> {
        Scope {
            directives: block.content(),
            block: Some(block),
            around: Some(self),
        }
    }

    /// Returns the directives of a name in this block alone.
    pub(super) fn here<'n>(
        &self,
        name: &'n str,
    ) -> impl Iterator<Item = &'s Directive> + use<'s, 'n> {
        self.directives.named(name)
    }

    /// Returns all directives of this block alone.
    pub(super) fn directives(&self) -> &'s Block {
        self.directives
    }

    /// Returns the directive that this block belongs to; `None` outside of all blocks.
    pub(super) fn block(&self) -> Option<&'s Directive> {
        self.block
    }

    /// Returns `true` if this is a block of this name, such as `server` or `location`.
    pub(super) fn is(&self, name: &str) -> bool {
        self.block.is_some_and(|block| block.name == name)
    }

    /// Iterates over this block and those around it, the innermost first.
    pub(super) fn chain(&self) -> impl Iterator<Item = Scope<'s>> + use<'s> {
        std::iter::successors(Some(*self), |scope| scope.around.copied())
    }

    /// Returns the directive of a name that is in effect here, of this block or of those around it.
    pub(super) fn one(&self, name: &str) -> Option<&'s Directive> {
        self.chain().find_map(|scope| scope.here(name).last())
    }

    /// Returns the directives of a name that are in effect here. A block that has any of them
    /// inherits none.
    pub(super) fn all(&self, name: &str) -> Vec<&'s Directive> {
        self.all_of(&[name])
    }

    /// Same as [`Scope::all`], for directives of several names that are inherited together. Returns
    /// them in the order of the file.
    pub(super) fn all_of(&self, names: &[&str]) -> Vec<&'s Directive> {
        let here = |scope: Scope<'s>| {
            let found = names.iter().flat_map(|name| scope.here(name));
            let mut found = found.collect::<Vec<_>>();
            found.sort_unstable_by_key(|directive| directive.id);
            found
        };
        let mut found = self.chain().map(here);
        found.find(|here| !here.is_empty()).unwrap_or_default()
    }

    /// Returns the directives of a name in this block and in the blocks within it.
    pub(super) fn everywhere(&self, name: &str) -> Vec<&'s Directive> {
        let mut found = Vec::new();
        collect(self.directives, name, &mut found);
        found
    }
}

/// Blocks that contain directives about requests.
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
