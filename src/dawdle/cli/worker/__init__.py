"""`dawdle worker`: runs an app, in this process or in several that are started again, replaced and watched."""
