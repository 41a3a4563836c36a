/** What pages read, by one name each, so that live events know what they make old. */
import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { call } from './api.ts';
import { deviceOf } from './device.ts';

const nearbyEveryMs = 15_000;

export const queries = {
  about: () =>
    queryOptions({ queryKey: ['about'], queryFn: () => call('about'), staleTime: Number.POSITIVE_INFINITY }),
  me: () => queryOptions({ queryKey: ['me'], queryFn: () => call('me'), retry: false }),
  demoPeople: () => queryOptions({ queryKey: ['demoPeople'], queryFn: () => call('demoPeople') }),
  contacts: () => queryOptions({ queryKey: ['contacts'], queryFn: () => call('contacts') }),
  partners: () => queryOptions({ queryKey: ['partners'], queryFn: () => call('partners') }),
  nearby: () =>
    queryOptions({ queryKey: ['nearby'], queryFn: () => call('nearby'), refetchInterval: nearbyEveryMs }),
  rules: () => queryOptions({ queryKey: ['rules'], queryFn: () => call('rules') }),
  /** This browser as a device of the person; null before it is one. */
  ownDevice: (personId: string) =>
    queryOptions({
      queryKey: ['ownDevice', personId],
      queryFn: async () => (await deviceOf(personId)) ?? null,
    }),
  devices: () => queryOptions({ queryKey: ['devices'], queryFn: () => call('devices') }),
  activity: (limit: number) =>
    queryOptions({
      queryKey: ['activity', limit],
      queryFn: () => call('activity', undefined, { query: { limit: `${limit}` } }),
      placeholderData: keepPreviousData,
    }),
  payment: (paymentId: string) =>
    queryOptions({
      queryKey: ['payment', paymentId],
      queryFn: () => call('payment', undefined, { params: { paymentId } }),
    }),
  statement: () => queryOptions({ queryKey: ['statement'], queryFn: () => call('statement') }),
  asks: () => queryOptions({ queryKey: ['asks'], queryFn: () => call('asks') }),
  ask: (askId: string, token: string) =>
    queryOptions({
      queryKey: ['ask', askId],
      queryFn: () => call('lookAtAsk', undefined, { params: { askId }, query: { token } }),
    }),
  splits: () => queryOptions({ queryKey: ['splits'], queryFn: () => call('splits') }),
  split: (splitId: string) =>
    queryOptions({
      queryKey: ['split', splitId],
      queryFn: () => call('oneSplit', undefined, { params: { splitId } }),
    }),
  offer: (paymentId: string) =>
    queryOptions({
      queryKey: ['offer', paymentId],
      queryFn: () => call('splitOffer', undefined, { params: { paymentId } }),
    }),
  counter: (establishmentId: string) =>
    queryOptions({
      queryKey: ['counter', establishmentId],
      queryFn: () => call('counter', undefined, { params: { establishmentId } }),
    }),
};
