-- A person's role by branch, as the sheet of the branches said when an owner applied it: {"porto": "desk"}. '': not by branch.

ALTER TABLE access_keys ADD COLUMN grants TEXT NOT NULL DEFAULT '';
