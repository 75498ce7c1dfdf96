"""How long a password is, in characters after NFC: auth checks it, and the page that sets one says it."""

PASSWORD_MIN_LENGTH = 8
PASSWORD_MAX_LENGTH = 128
