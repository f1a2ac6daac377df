//! Reads an nginx.conf into directives with their positions, for the tests alone: the translator
//! has a reader of its own, which is part of what is tested.

use std::ops::Range;

/// One word of a directive.
#[derive(Debug, Clone)]
pub struct Word {
    /// The word without its quotes.
    pub text: String,
    /// Bytes of the word in the file, with its quotes.
    pub span: Range<usize>,
}

/// One directive, with the content of its block.
#[derive(Debug, Clone)]
pub struct Directive {
    pub words: Vec<Word>,
    /// Bytes from the first word to the `;` or `}` that ends the directive.
    pub span: Range<usize>,
    /// Lines of the directive, counted from 1.
    pub lines: Range<usize>,
    /// Position behind the `{` of the block.
    pub open: Option<usize>,
    pub inside: Vec<Directive>,
    /// Comment behind the directive's first line, if it begins with `listed:`.
    pub listed: Option<String>,
}

impl Directive {
    pub fn name(&self) -> &str {
        &self.words[0].text
    }

    /// The argument with this number; empty if there is none.
    pub fn arg(&self, number: usize) -> &str {
        self.words
            .get(number + 1)
            .map_or("", |word| word.text.as_str())
    }

    pub fn args(&self) -> impl Iterator<Item = &str> {
        self.words[1..].iter().map(|word| word.text.as_str())
    }

    /// Directives of this name in the block.
    pub fn named<'d>(&'d self, name: &'d str) -> impl Iterator<Item = &'d Directive> {
        self.inside.iter().filter(move |one| one.name() == name)
    }

    /// This directive and all within it.
    pub fn walk<'d>(&'d self, visit: &mut dyn FnMut(&'d Directive)) {
        visit(self);
        for inner in &self.inside {
            inner.walk(visit);
        }
    }
}

/// Directives of a list and all within them.
pub fn walk<'d>(directives: &'d [Directive], visit: &mut dyn FnMut(&'d Directive)) {
    for directive in directives {
        directive.walk(visit);
    }
}

/// Directives of this name, wherever they are.
pub fn everywhere<'d>(directives: &'d [Directive], name: &str) -> Vec<&'d Directive> {
    let mut found = Vec::new();
    walk(directives, &mut |one| {
        if one.name() == name {
            found.push(one);
        }
    });
    found
}

enum Token {
    Word(Word),
    Open(usize),
    Close(usize),
    End(usize),
}

/// Reads the directives of a file.
pub fn read(text: &str) -> Vec<Directive> {
    let lines = Lines::of(text);
    let mut tokens = tokens(text).into_iter().peekable();
    let directives = block(&mut tokens, text, &lines);
    assert!(tokens.next().is_none(), "a `}}` too many");
    directives
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<Token>>;

fn block(tokens: &mut Tokens, text: &str, lines: &Lines) -> Vec<Directive> {
    let mut directives = Vec::new();
    let mut words: Vec<Word> = Vec::new();
    while let Some(token) = tokens.next_if(|token| !matches!(token, Token::Close(_))) {
        let (end, open, inside) = match token {
            Token::Word(word) => {
                words.push(word);
                continue;
            }
            Token::End(at) => (at, None, Vec::new()),
            Token::Open(at) => {
                let inside = block(tokens, text, lines);
                let Some(Token::Close(end)) = tokens.next() else {
                    panic!("a `{{` without its `}}`");
                };
                (end, Some(at + 1), inside)
            }
            Token::Close(_) => unreachable!("looked at before"),
        };
        let words = std::mem::take(&mut words);
        let start = words[0].span.start;
        let line = lines.number(start);
        directives.push(Directive {
            words,
            span: start..end + 1,
            lines: line..lines.number(end) + 1,
            open,
            inside,
            listed: listed(text, lines.end(line)),
        });
    }
    directives
}

/// Returns the text behind `# listed:` in the line that ends here.
fn listed(text: &str, end: usize) -> Option<String> {
    let line = text[..end].rsplit('\n').next()?;
    let (_, listed) = line.split_once("# listed:")?;
    Some(listed.trim().to_owned())
}

fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b if b.is_ascii_whitespace() => at += 1,
            b'#' => at += text[at..].find('\n').unwrap_or(text.len() - at),
            b'{' => {
                tokens.push(Token::Open(at));
                at += 1;
            }
            b'}' => {
                tokens.push(Token::Close(at));
                at += 1;
            }
            b';' => {
                tokens.push(Token::End(at));
                at += 1;
            }
            _ => {
                let word = word(text, at);
                at = word.span.end;
                tokens.push(Token::Word(word));
            }
        }
    }
    tokens
}

fn word(text: &str, start: usize) -> Word {
    let bytes = text.as_bytes();
    let quote = Some(bytes[start]).filter(|b| matches!(b, b'"' | b'\''));
    let mut at = start + usize::from(quote.is_some());
    let mut word = Vec::new();
    while let Some(&byte) = bytes.get(at) {
        match (byte, quote) {
            (b'\\', _) if at + 1 < bytes.len() => {
                match bytes[at + 1] {
                    next @ (b'"' | b'\'' | b'\\') => word.push(next),
                    b't' => word.push(b'\t'),
                    b'n' => word.push(b'\n'),
                    b'r' => word.push(b'\r'),
                    next => word.extend([b'\\', next]),
                }
                at += 2;
                continue;
            }
            (byte, Some(quote)) if byte == quote => {
                at += 1;
                break;
            }
            (b'{', None) if bytes[at - 1] == b'$' => {}
            (byte, None) if byte.is_ascii_whitespace() || matches!(byte, b';' | b'{') => break,
            _ => {}
        }
        word.push(byte);
        at += 1;
    }
    Word {
        text: String::from_utf8(word).unwrap(),
        span: start..at,
    }
}

/// Starts of the lines of a text.
struct Lines(Vec<usize>, usize);

impl Lines {
    fn of(text: &str) -> Lines {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1));
        Lines(starts.collect(), text.len())
    }

    /// Number of the line of a position, counted from 1.
    fn number(&self, at: usize) -> usize {
        self.0.partition_point(|start| *start <= at)
    }

    /// Position of the end of a line.
    fn end(&self, line: usize) -> usize {
        self.0.get(line).map_or(self.1, |next| next - 1)
    }
}
