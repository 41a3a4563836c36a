import type { SchemaStep } from '#base/postgres/migrate.ts';

/** Of requests for one wish in several zones one is offered at a time. */
export const wishOffersStep: SchemaStep = {
  name: '0052-wish-offers',
  up: `
    alter table capacity_requests
      -- The offer in another zone for which it waits: it is offered nothing itself meanwhile.
      add column waits_for text;
    alter table capacity_offers
      -- What the region was told of it: null nothing, 'open', 'over'.
      add column told text;
    create index capacity_offers_told on capacity_offers (id) where state = 'open' or told = 'open';
  `,
};
