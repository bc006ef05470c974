/* A certificate of tests for the name public.test, signed by itself, good from 2000 to 2120, and its key, which is
 * no secret. Made by `openssl ecparam -name prime256v1 -genkey` and `openssl ca -selfsign`. */
#ifndef QVL_TESTS_TEST_CERTIFICATE_H
#define QVL_TESTS_TEST_CERTIFICATE_H

static const char test_certificate[] = "-----BEGIN CERTIFICATE-----\n"
                                       "MIIBZDCCAQqgAwIBAgIBATAKBggqhkjOPQQDAjAWMRQwEgYDVQQDDAtwdWJsaWMu\n"
                                       "dGVzdDAgFw0wMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFjEUMBIGA1UE\n"
                                       "AwwLcHVibGljLnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR67h3bzHpf\n"
                                       "x/LO3OQYAUbiHAyTKVYJXF9KSkUOa4AAx+R8e75xeSmwQjYFTGGzjRUoS48Ao7Jy\n"
                                       "MjW3H+2g2b+Bo0cwRTAWBgNVHREEDzANggtwdWJsaWMudGVzdDAMBgNVHRMEBTAD\n"
                                       "AQH/MB0GA1UdDgQWBBSK3qnvTHUKLbIDcbVNd2bvo3TRPzAKBggqhkjOPQQDAgNI\n"
                                       "ADBFAiEAjfgmehAPjZ5VJ5p83Ub5aPBwmHKaRIspXw6jueSZ68ICIBPMhyCKw9om\n"
                                       "dQQa99UyZec6XznZBQ0Stp4k+AJB6NOe\n"
                                       "-----END CERTIFICATE-----\n";
static const char test_key[] = "-----BEGIN PRIVATE KEY-----\n"
                               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgpXJZuJ8A6oLiuIsZ\n"
                               "WIIFfzjTgPNW8MFVlCyy7KiPuZmhRANCAAR67h3bzHpfx/LO3OQYAUbiHAyTKVYJ\n"
                               "XF9KSkUOa4AAx+R8e75xeSmwQjYFTGGzjRUoS48Ao7JyMjW3H+2g2b+B\n"
                               "-----END PRIVATE KEY-----\n";

#endif
