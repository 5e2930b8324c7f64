"""Pure array maths of wireless signals: channels from rays, beam codebooks, angle and delay views, power.

Everything takes and returns arrays with the sample axis first and knows nothing of files, stores or models.
"""
