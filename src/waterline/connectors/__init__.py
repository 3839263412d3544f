"""Systems that an app lives among, one file each."""
