/** Lines of the log that ask for an operator, by their `alarm`: the log tells, metrics count. */
import { channel } from 'node:diagnostics_channel';

export const alarms = channel('pando.alarm');
