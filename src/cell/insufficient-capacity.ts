/** What a client hears when nothing has room. Where VMs go: capacity/placing.ts. */
import { PandoError } from '#contracts/errors.ts';

export const insufficientCapacity = (): PandoError =>
  new PandoError(
    'InsufficientInstanceCapacity',
    'We currently do not have sufficient capacity in the Availability Zone you requested. Our system will be working on provisioning additional capacity. You can currently get capacity by not specifying an Availability Zone in your request or choosing another one.',
  );
