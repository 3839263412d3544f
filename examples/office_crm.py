"""Fills an initialised Tryton database: a company and a user. A process of its own, run by office.py and by tests."""

import sys

import trytond.config

trytond.config.update_etc(sys.argv[1])

from trytond.pool import Pool  # noqa: E402
from trytond.transaction import Transaction  # noqa: E402

database, user, password = sys.argv[2:]
Pool.start()
pool = Pool(database)
with Transaction().start(database, 0):
    pool.init()
with Transaction().start(database, 1) as transaction:
    (euro,) = pool.get("currency.currency").create([{"name": "Euro", "symbol": "E", "code": "EUR"}])
    (party,) = pool.get("party.party").create([{"name": "School"}])
    (company,) = pool.get("company.company").create([{"party": party.id, "currency": euro.id}])
    groups = [group.id for group in pool.get("res.group").search([])]
    values = {"name": "Office", "login": user, "password": password, "company": company.id}
    more = {"companies": [("add", [company.id])], "groups": [("add", groups)]}
    pool.get("res.user").create([{**values, **more}])
    transaction.commit()
