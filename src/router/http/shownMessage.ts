/** An error and what it was made of, as one line of a log. */

const causesMax = 4;

/** Messages from the outermost inwards. */
export const shownMessage = (thrown: unknown): string => {
  const messages: string[] = [];
  let error = thrown;
  while (error instanceof Error && messages.length < causesMax) {
    messages.push(error.message);
    error = error.cause;
  }
  return messages.join(': ').slice(0, 1_000);
};
