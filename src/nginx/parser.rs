//! Parser: from tokens to a tree of directives. nginx's grammar has words, `;` and blocks, and
//! nothing else. The meaning of a directive does not matter here.
//!
//! Everything has a limit, because the file may contain anything: bytes, directives, blocks within
//! blocks, files within files.

use std::path::Path;
use std::sync::Arc;

use super::error::{Fault, NginxError};
use super::include::Files;
use super::lexer::{Lexer, Token};
use super::place::{Place, Position};
use super::tree::{Block, Directive, Missing, Tree};

/// Limit on blocks within blocks, over all files.
const DEPTH: usize = 64;
/// Limit on the directives of all files.
const COUNT: usize = 1_000_000;
/// Limit on files that include files.
const INCLUDES: usize = 16;

/// Reads a file and the files that it includes.
pub(super) fn read(file: &Path) -> Result<Tree, NginxError> {
    let mut files = Files::of(file);
    let name = file.display().to_string();
    let bytes = files.read(file).map_err(|error| NginxError::Io {
        file: name.clone(),
        error,
    })?;
    parse(&bytes, &name, files)
}

/// Parses a text. `name` is its file name in errors; `files` finds the included files.
pub(super) fn parse(bytes: &[u8], name: &str, files: Files) -> Result<Tree, NginxError> {
    let mut parser = Parser {
        files,
        tree: Tree::default(),
    };
    parser.tree.directives = Block::new(parser.file(bytes, &Arc::from(name), 0, 0)?);
    Ok(parser.tree)
}

struct Parser {
    files: Files,
    tree: Tree,
}

/// Open block: its directive, and the directives before it in the block around.
struct Open {
    directive: Directive,
    before: Vec<Directive>,
}

/// State of reading one file.
struct Unit<'f> {
    file: &'f Arc<str>,
    /// Number of blocks around the `include` of this file.
    depth: usize,
    /// Number of nested `include`s that lead to this file.
    level: usize,
    /// Open blocks of this file, the innermost at the end.
    open: Vec<Open>,
    /// Directives of the innermost block.
    directives: Vec<Directive>,
    /// Words of the next directive; `begin` is the position of the first.
    words: Vec<String>,
    begin: Position,
}

impl Parser {
    /// Reads one file that is `depth` blocks and `level` includes deep. Returns its directives.
    fn file(
        &mut self,
        bytes: &[u8],
        file: &Arc<str>,
        depth: usize,
        level: usize,
    ) -> Result<Vec<Directive>, NginxError> {
        let mut lexer = Lexer::new(bytes);
        let mut unit = Unit {
            file,
            depth,
            level,
            open: Vec::new(),
            directives: Vec::new(),
            words: Vec::new(),
            begin: lexer.position(),
        };
        while let Some((token, position)) = lexer.token().map_err(|fault| unit.fail(fault))? {
            match token {
                Token::Word(word) => {
                    if unit.words.is_empty() {
                        unit.begin = position;
                    }
                    unit.words.push(word);
                }
                Token::End => self.end(&mut unit, position)?,
                Token::Open => self.open(&mut unit, &mut lexer, position)?,
                Token::Close => unit.close(position)?,
            }
        }
        unit.finish()
    }

    /// Ends a directive at `;`.
    fn end(&mut self, unit: &mut Unit, position: Position) -> Result<(), NginxError> {
        let directive = self.directive(unit, (Fault::UnexpectedEnd, position))?;
        if directive.name == "include" && directive.args.len() == 1 {
            let depth = unit.depth + unit.open.len();
            let included = self.include(directive, depth, unit.level)?;
            unit.directives.extend(included);
        } else {
            unit.directives.push(directive);
        }
        Ok(())
    }

    /// Opens a block at `{`.
    fn open(
        &mut self,
        unit: &mut Unit,
        lexer: &mut Lexer,
        position: Position,
    ) -> Result<(), NginxError> {
        let mut directive = self.directive(unit, (Fault::UnexpectedOpen, position))?;
        directive.block = Some(Block::default());
        if directive.name.ends_with("_by_lua_block") {
            let skipped = lexer.skip_foreign_block();
            skipped.map_err(|fault| unit.fail(fault))?;
            unit.directives.push(directive);
            return Ok(());
        }
        if unit.depth + unit.open.len() >= DEPTH {
            return Err(unit.fail((Fault::TooDeep(DEPTH), position)));
        }
        let before = std::mem::take(&mut unit.directives);
        unit.open.push(Open { directive, before });
        Ok(())
    }

    /// Makes a directive of the words that were read; `missing` is the error if there are none.
    fn directive(
        &mut self,
        unit: &mut Unit,
        missing: (Fault, Position),
    ) -> Result<Directive, NginxError> {
        if unit.words.is_empty() {
            return Err(unit.fail(missing));
        }
        if self.tree.count >= COUNT {
            return Err(unit.fail((Fault::TooMany(COUNT), unit.begin)));
        }
        let mut args = std::mem::take(&mut unit.words);
        let name = args.remove(0);
        let id = self.tree.count;
        self.tree.count += 1;
        Ok(Directive {
            id,
            name,
            args,
            block: None,
            place: Place::new(unit.file, unit.begin),
        })
    }

    /// Returns the directives of the files that an `include` names. If one cannot be read, the
    /// `include` itself stays among them.
    fn include(
        &mut self,
        directive: Directive,
        depth: usize,
        level: usize,
    ) -> Result<Vec<Directive>, NginxError> {
        let place = || directive.place.clone();
        if level >= INCLUDES {
            return Err(NginxError::Syntax {
                place: place(),
                fault: Fault::IncludeTooDeep(INCLUDES),
            });
        }
        let pattern = directive.arg(0);
        let missing = |reason: String, is_empty: bool| Missing {
            place: place(),
            pattern: pattern.to_owned(),
            reason,
            is_empty,
        };
        let found = match self.files.matching(pattern) {
            Ok(found) => found,
            Err(reason) => {
                self.tree.missing.push(missing(reason, false));
                return Ok(vec![directive]);
            }
        };
        if found.is_empty() {
            let reason = "no file is there that matches".to_owned();
            self.tree.missing.push(missing(reason, true));
        }
        let mut directives = Vec::new();
        let mut is_unread = false;
        for file in found {
            let name = file.display().to_string();
            match self.files.read(&file) {
                Ok(bytes) => {
                    directives.extend(self.file(&bytes, &Arc::from(name), depth, level + 1)?);
                }
                Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                    return Err(NginxError::Syntax {
                        place: place(),
                        fault: Fault::TooLong(super::include::BYTES),
                    });
                }
                Err(error) => {
                    let reason = format!("{name}: {error}");
                    self.tree.missing.push(missing(reason, false));
                    is_unread = true;
                }
            }
        }
        if is_unread {
            directives.push(directive);
        }
        Ok(directives)
    }
}

impl Unit<'_> {
    fn fail(&self, (fault, position): (Fault, Position)) -> NginxError {
        NginxError::Syntax {
            place: Place::new(self.file, position),
            fault,
        }
    }

    /// Closes a block at `}`.
    fn close(&mut self, position: Position) -> Result<(), NginxError> {
        let is_within = self.words.is_empty();
        let Some(Open {
            mut directive,
            before,
        }) = self.open.pop().filter(|_| is_within)
        else {
            return Err(self.fail((Fault::UnexpectedClose, position)));
        };
        let inside = std::mem::replace(&mut self.directives, before);
        directive.block = Some(Block::new(inside));
        self.directives.push(directive);
        Ok(())
    }

    /// Returns the directives, or an error if the file ends within a directive or a block.
    fn finish(mut self) -> Result<Vec<Directive>, NginxError> {
        if !self.words.is_empty() {
            return Err(self.fail((Fault::DirectiveWithoutEnd, self.begin)));
        }
        match self.open.pop() {
            Some(Open { directive, .. }) => Err(NginxError::Syntax {
                place: directive.place,
                fault: Fault::BlockWithoutEnd,
            }),
            None => Ok(self.directives),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(text: &str) -> Result<Tree, String> {
        let files = Files::of(Path::new("/nonexistent/nginx.conf"));
        parse(text.as_bytes(), "f", files).map_err(|error| error.to_string())
    }

    /// Writes a tree in one line, with blocks in brackets.
    fn shown(directives: &[Directive]) -> String {
        let one = |d: &Directive| match &d.block {
            Some(block) => format!("{d} [{}]", shown(block)),
            None => d.to_string(),
        };
        directives.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(shown(&tree(text).unwrap().directives), expected);
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        assert_eq!(tree(text).unwrap_err(), expected);
    }

    #[test]
    fn blocks_are_nested() {
        check("a; b c { d e; f { } } g;", "a, b c [d e, f []], g");
    }

    #[test]
    fn the_text_of_another_language_is_passed_over() {
        let lua = "a { content_by_lua_block { if x then -- }\n say(\"}\") t = {1} end } b; }";
        check(lua, "a [content_by_lua_block [], b]");
    }

    #[test]
    fn errors_have_file_line_and_column() {
        check_error(
            "a;\n b",
            "f:2:2: the file ends where \";\" or \"{\" is expected",
        );
        check_error("a {\n b;", "f:1:1: the block has no \"}\"");
        check_error("a; }", "f:1:4: unexpected \"}\"");
        check_error("a { b }", "f:1:7: unexpected \"}\"");
        check_error("a;;", "f:1:3: unexpected \";\"");
        check_error("{", "f:1:1: unexpected \"{\"");
        check_error("a 'b", "f:1:3: the quote has no end");
    }

    #[test]
    fn depth_and_number_are_bounded() {
        check_error(
            &"a{".repeat(100_000),
            "f:1:130: blocks are nested deeper than 64",
        );
        check_error(
            &"a;".repeat(1_000_001),
            "f:1:2000001: more than 1000000 directives",
        );
    }

    #[test]
    fn what_is_included_and_not_there_is_known() {
        let tree = tree("a; include b/c.conf; include d/*.conf; include /*.none;").unwrap();
        let directives = shown(&tree.directives);
        assert_eq!(directives, "a, include b/c.conf, include d/*.conf");
        let missing = tree
            .missing
            .iter()
            .map(|m| (m.pattern.as_str(), m.is_empty));
        let missing: Vec<_> = missing.collect();
        let expected = [("b/c.conf", false), ("d/*.conf", false), ("/*.none", true)];
        assert_eq!(missing, expected);
    }

    #[test]
    fn includes_are_found_beside_the_file_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        std::fs::create_dir(folder.path().join("d")).unwrap();
        write("nginx.conf", "http { include d/*.conf; }");
        write("d/2.conf", "b; include d/inner;");
        write("d/1.conf", "a;");
        write("d/inner", "c;");
        let tree = read(&folder.path().join("nginx.conf")).unwrap();
        assert_eq!(shown(&tree.directives), "http [a, b, c]");
    }

    #[test]
    fn files_that_include_themselves_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, "include *.conf;").unwrap();
        let error = read(&file).unwrap_err().to_string();
        let expected = "nginx.conf:1:1: files include one another 16 levels deep";
        assert!(error.ends_with(expected), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_tree_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let files = Files::of(Path::new("/nonexistent/nginx.conf"));
            let _ = parse(&bytes, "f", files);
        }

        #[test]
        fn what_looks_like_a_file_is_a_tree_or_an_error(text in r#"([a-c$~] ?|[;{}'"\\#\n]|\$\{){0,80}"#) {
            let _ = tree(&text);
        }
    }
}
