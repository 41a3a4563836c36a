/** The version under which new workflows of a kind are made; kinds that are not named are at 1. See `WorkflowDefinition.version`. */
export const workflowVersions: Readonly<Record<string, number>> = {};

export const versionOf = (kind: string): number => workflowVersions[kind] ?? 1;
