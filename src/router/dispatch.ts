/** From an authenticated request to its answer, by the route of its action. */
import { PandoError } from '#contracts/errors.ts';
import { isSafe, routeOf } from './actions.ts';
import { outputOf } from './outcome.ts';
import { type Answer, backendCall, type Call, type Parts } from './request.ts';
import { askAnyCell, gather } from './routes/gather.ts';
import { callByIds } from './routes/ids.ts';
import { launch } from './routes/launch.ts';
import { reserve } from './routes/reserve.ts';
import { tag } from './routes/tags.ts';

/** @throws `PandoError` with EC2's codes; `UnsupportedOperation` for an action that is not built. */
export const dispatch = async (parts: Parts, call: Call): Promise<Answer> => {
  const route = routeOf(call.action);
  if (route === undefined) throw notBuilt();
  switch (route.to) {
    case 'region':
      return askRegion(parts, call);
    case 'launch':
      return launch(parts, call);
    case 'reserve':
      return reserve(parts, call, route);
    case 'ids':
      return callByIds(parts, call, route);
    case 'gather':
      return gather(parts, call, route);
    case 'tags':
      return tag(parts, call);
    case 'anyCell':
      return askAnyCell(parts, call);
    case 'local':
      return { output: route.answer(call.caller), backend: 'router' };
  }
};

/** EC2's words for what a region does not have, to the letter: clients compare the message (Ansible's `ec2_vpc_net_info`). */
export const notBuilt = (): PandoError =>
  new PandoError('UnsupportedOperation', 'The functionality you requested is not available in this region.');

const askRegion = async (parts: Parts, call: Call): Promise<Answer> => {
  const outcome = await parts.region.call(backendCall(call), isSafe(call.action));
  return { output: outputOf(outcome, 'The region'), backend: 'region' };
};
