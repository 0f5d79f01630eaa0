"""What can be redacted. The names are those that clients send and that stand in the text in place of what was said."""

from enum import StrEnum


class Entity(StrEnum):
    CREDIT_DEBIT_NUMBER = "CREDIT_DEBIT_NUMBER"
    CREDIT_DEBIT_CVV = "CREDIT_DEBIT_CVV"
    PIN = "PIN"
    BANK_ACCOUNT_NUMBER = "BANK_ACCOUNT_NUMBER"
    PHONE = "PHONE"
    EMAIL = "EMAIL"
    ID_NUMBER = "ID_NUMBER"
    ADDRESS = "ADDRESS"
    NAME = "NAME"
    DATE_OF_BIRTH = "DATE_OF_BIRTH"
    NUMBER = "NUMBER"

    @property
    def label(self) -> str:
        """What stands in the text, such as `[PHONE]`."""
        return f"[{self}]"
