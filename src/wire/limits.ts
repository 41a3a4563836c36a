/** What a client may send at most. Above a limit the request is refused, never cut. */
export const wireLimits = {
  formBytesMax: 1 << 20,
  parametersMax: 5_000,
  parameterNameCharsMax: 256,
  /** Of a single value: above all that EC2 takes, so what is longer is carried no further. */
  valueCharsMax: 65_536,
  /** Of all values of one request: the longest list, each item with the longest description. */
  allValuesCharsMax: 384 * 1024,
  userDataBytesMax: 16_384,
  /** Dots and indexes included: `LaunchSpecification.NetworkInterface.1.PrivateIpAddresses.1.Primary` has six. */
  nameSegmentsMax: 16,
  listItemsMax: 1_000,
  filtersMax: 50,
  /** In all filters of one request. */
  filterValuesMax: 200,
  tagsMax: 50,
  tagKeyCharsMax: 128,
  tagValueCharsMax: 256,
  pageItemsMin: 5,
  pageItemsMax: 1_000,
  /** About so much: a quarter of what one message between processes may be. */
  pageBytesMax: 4 * 1024 * 1024,
  nextTokenCharsMax: 2_048,
  authorizationCharsMax: 8_192,
  presignedSecondsMax: 604_800,
  clockSkewMinutesMax: 15,
  dayKeysMax: 4_096,
} as const;
