"""The only package that knows a database: schema, migrations, named SQL, the spool and its drainer."""
