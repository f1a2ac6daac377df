//! Lexer: from bytes to words and punctuation, by the rules of nginx's own reader.
//!
//! The rules are few, with some special cases. A quote or a `#` begins a string or a comment only
//! where a word begins. `{` does not end a word after `$`. A backslash is dropped only before a
//! quote, a backslash, `t`, `r` and `n`, so regular expressions keep theirs.

use super::error::Fault;
use super::place::Position;

/// Token of a configuration file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or an argument, without its quotes.
    Word(String),
    /// `;`
    End,
    /// `{`
    Open,
    /// `}`
    Close,
}

/// Lexer that reads one token at a time.
pub(super) struct Lexer<'t> {
    bytes: &'t [u8],
    at: usize,
    position: Position,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(bytes: &'t [u8]) -> Self {
        let marked = bytes.starts_with(b"\xef\xbb\xbf");
        Lexer {
            bytes: if marked { &bytes[3..] } else { bytes },
            at: 0,
            position: Position { line: 1, column: 1 },
        }
    }

    /// Returns the position of the next byte.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Returns the next token and its position; `None` at the end of the file.
    pub(super) fn token(&mut self) -> Result<Option<(Token, Position)>, (Fault, Position)> {
        self.skip_space_and_comments();
        let begin = self.position;
        let token = match self.peek() {
            None => return Ok(None),
            Some(b';') => Token::End,
            Some(b'{') => Token::Open,
            Some(b'}') => Token::Close,
            Some(quote @ (b'"' | b'\'')) => return self.quoted(quote, begin).map(Some),
            Some(_) => return self.bare(begin).map(Some),
        };
        self.advance();
        Ok(Some((token, begin)))
    }

    /// Skips the content of a Lua block, up to the brace that closes it. Braces in strings and
    /// comments of Lua do not count.
    pub(super) fn skip_foreign_block(&mut self) -> Result<(), (Fault, Position)> {
        let begin = self.position;
        let mut depth = 1;
        while let Some(byte) = self.advance() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b'-' if self.peek() == Some(b'-') => self.skip_line(),
                b'"' | b'\'' => self.skip_string(byte),
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
        Err((Fault::BlockWithoutEnd, begin))
    }

    fn quoted(
        &mut self,
        quote: u8,
        begin: Position,
    ) -> Result<(Token, Position), (Fault, Position)> {
        self.advance();
        let from = self.at;
        loop {
            match self.peek() {
                None => return Err((Fault::QuoteWithoutEnd, begin)),
                Some(byte) if byte == quote => break,
                Some(b'\\') => {
                    self.advance();
                    self.advance();
                }
                Some(_) => {
                    self.advance();
                }
            }
        }
        let token = word(&self.bytes[from..self.at], begin)?;
        self.advance();
        match self.peek() {
            None | Some(b';' | b'{' | b')') => Ok((token, begin)),
            Some(byte) if byte.is_ascii_whitespace() => Ok((token, begin)),
            Some(_) => Err((Fault::TextAfterQuote, self.position)),
        }
    }

    fn bare(&mut self, begin: Position) -> Result<(Token, Position), (Fault, Position)> {
        let from = self.at;
        let mut after_dollar = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'{' if after_dollar => {}
                b';' | b'{' => break,
                byte if byte.is_ascii_whitespace() => break,
                b'\\' => {
                    self.advance();
                    after_dollar = false;
                }
                byte => after_dollar = byte == b'$',
            }
            self.advance();
        }
        Ok((word(&self.bytes[from..self.at], begin)?, begin))
    }

    fn skip_space_and_comments(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => self.skip_line(),
                byte if byte.is_ascii_whitespace() => {
                    self.advance();
                }
                _ => return,
            }
        }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.advance();
        }
    }

    /// Skips a Lua string whose opening quote is already read. It ends at the end of its line at
    /// the latest.
    fn skip_string(&mut self, quote: u8) {
        while let Some(byte) = self.advance() {
            match byte {
                b'\\' => {
                    self.advance();
                }
                byte if byte == quote || byte == b'\n' => return,
                _ => {}
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn advance(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        if byte == b'\n' {
            self.position.line = self.position.line.saturating_add(1);
            self.position.column = 1;
        } else if self.peek().is_none_or(|next| next & 0xc0 != 0x80) {
            // A character of several bytes is counted at its last byte.
            self.position.column = self.position.column.saturating_add(1);
        }
        Some(byte)
    }
}

/// Makes a word of its bytes in the file: resolves the escapes that nginx knows.
fn word(raw: &[u8], begin: Position) -> Result<Token, (Fault, Position)> {
    let raw = std::str::from_utf8(raw).map_err(|_| (Fault::NotUtf8, begin))?;
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw.chars().peekable();
    while let Some(c) = rest.next() {
        let meant = match rest.peek() {
            Some(&next @ ('"' | '\'' | '\\')) if c == '\\' => Some(next),
            Some('t') if c == '\\' => Some('\t'),
            Some('r') if c == '\\' => Some('\r'),
            Some('n') if c == '\\' => Some('\n'),
            _ => None,
        };
        if meant.is_some() {
            rest.next();
        }
        text.push(meant.unwrap_or(c));
    }
    Ok(Token::Word(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Vec<String>, (Fault, Position)> {
        let mut lexer = Lexer::new(text.as_bytes());
        let mut words = Vec::new();
        while let Some((token, _)) = lexer.token()? {
            words.push(match token {
                Token::Word(word) => word,
                Token::End => "<end>".to_owned(),
                Token::Open => "<open>".to_owned(),
                Token::Close => "<close>".to_owned(),
            });
        }
        Ok(words)
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(words(text).unwrap(), expected);
    }

    #[track_caller]
    fn check_fault(text: &str, fault: Fault, line: u32, column: u32) {
        assert_eq!(words(text), Err((fault, Position { line, column })));
    }

    #[test]
    fn words_end_at_space_and_punctuation() {
        check("a b;c{d}", &["a", "b", "<end>", "c", "<open>", "d}"]);
        check("a\t\r\n b ;}", &["a", "b", "<end>", "<close>"]);
    }

    #[test]
    fn quotes_and_comments_begin_where_words_begin() {
        check("a 'b ; c' \"\" # d\ne", &["a", "b ; c", "", "e"]);
        check("a\"b\" c#d", &["a\"b\"", "c#d"]);
    }

    #[test]
    fn a_brace_after_a_dollar_is_of_a_variable() {
        check("a ${b}c;", &["a", "${b}c", "<end>"]);
        check("~^/a{2}", &["~^/a", "<open>", "2}"]);
        check("\"~^/a{2}\"", &["~^/a{2}"]);
    }

    #[test]
    fn a_backslash_drops_out_before_few_characters() {
        check(r"~\.php$ a\;b", &[r"~\.php$", r"a\;b"]);
        check(r#""a\"b\\c\td" \'e"#, &["a\"b\\c\td", "'e"]);
    }

    #[test]
    fn a_condition_closes_behind_a_quote() {
        check("if ($a = \"b\") {", &["if", "($a", "=", "b", ")", "<open>"]);
    }

    #[test]
    fn faults_have_places() {
        check_fault("a\n é 'b", Fault::QuoteWithoutEnd, 2, 4);
        check_fault("'a'b", Fault::TextAfterQuote, 1, 4);
        let mut lexer = Lexer::new(b"a\xff;");
        let position = Position { line: 1, column: 1 };
        assert_eq!(lexer.token(), Err((Fault::NotUtf8, position)));
    }

    #[test]
    fn a_comment_may_be_of_any_bytes() {
        let mut lexer = Lexer::new(b"# \xff\xfe\na");
        let position = Position { line: 2, column: 1 };
        assert_eq!(
            lexer.token(),
            Ok(Some((Token::Word("a".to_owned()), position)))
        );
    }
}
