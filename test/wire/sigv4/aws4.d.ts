/** The part of `aws4`, which has no types of its own, that signs a request in the header form. */
declare module 'aws4' {
  interface Request {
    method: string;
    path: string;
    host: string;
    service: string;
    region: string;
    body: string;
    headers: Record<string, string>;
  }
  const aws4: {
    sign(
      request: Request,
      credentials: { accessKeyId: string; secretAccessKey: string },
    ): { headers?: object };
  };
  export default aws4;
}
