"""Who may call: bearer tokens, OIDC's JSON Web Tokens, and how often each caller may ask."""
