-- Who is refused first when there is too much to do; '': what the request or the app says.

ALTER TABLE access_keys ADD COLUMN priority TEXT NOT NULL DEFAULT '';
