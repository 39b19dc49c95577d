"""What ISO/IEC 7816-4 says about bytes: APDUs, class bytes, status words, BER-TLV, ATR."""
