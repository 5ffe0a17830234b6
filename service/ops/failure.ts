/** Takes what a piece of work has thrown that `where` names, and returns the errno to answer with. */
export type FailureHandler = (where: string, error: unknown) => number;
