"""The length of a password in characters after NFC: auth checks it, the gateway's reset page shows it."""

PASSWORD_MIN_LENGTH = 8
PASSWORD_MAX_LENGTH = 128
