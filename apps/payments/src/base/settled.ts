/** The value of what was waited for together with others, or its error. */
export function found<Value>(result: PromiseSettledResult<Value>): Value {
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}
