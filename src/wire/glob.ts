/** Matches any run of characters, none included. */
const star = Symbol('star');
/** Matches any one character. */
const question = Symbol('question');

type Token = string | typeof star | typeof question;

/**
 * A test for a filter's pattern: `*` is any run, `?` any one character, and a backslash takes the next
 * character as it is. Case matters. Time is at most pattern × text, whatever the pattern.
 */
export function compileGlob(pattern: string): (text: string) => boolean {
  if (!/[*?\\]/.test(pattern)) return (text) => text === pattern;
  const tokens = tokenize(pattern);
  return (text) => matches(tokens, [...text]);
}

function tokenize(pattern: string): readonly Token[] {
  const tokens: Token[] = [];
  let escaped = false;
  for (const character of pattern) {
    if (escaped) tokens.push(character);
    else if (character === '*') tokens.push(star);
    else if (character === '?') tokens.push(question);
    else if (character !== '\\') tokens.push(character);
    escaped = !escaped && character === '\\';
  }
  if (escaped) tokens.push('\\');
  return tokens;
}

/** Greedy, with one point to return to: where the last star stood, and how much it has taken. */
function matches(tokens: readonly Token[], text: readonly string[]): boolean {
  let token = 0;
  let position = 0;
  let lastStar = -1;
  let taken = 0;
  while (position < text.length) {
    const expected = tokens[token];
    if (expected === star) {
      lastStar = token++;
      taken = position;
    } else if (expected === question || (expected !== undefined && expected === text[position])) {
      token++;
      position++;
    } else if (lastStar >= 0) {
      token = lastStar + 1;
      position = ++taken;
    } else {
      return false;
    }
  }
  while (tokens[token] === star) token++;
  return token === tokens.length;
}
