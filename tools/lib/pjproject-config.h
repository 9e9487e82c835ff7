/* pjproject's config_site.h for glotgate: what the build must fix because no setting at run time can. */

#define PJ_HAS_IPV6                 1

/* Capacity. pjsua's default of 4 calls is meant for a telephone. */
#define PJSUA_MAX_CALLS             4096
#define PJSUA_MAX_ACC               64
#define PJ_IOQUEUE_MAX_HANDLES      16384   /* two loopback sockets per call, and a connection per TCP or TLS peer */
#define PJSIP_MAX_TSX_COUNT         65535   /* an INVITE's transaction outlives its answer by 32 s */
#define PJSIP_MAX_DIALOG_COUNT      16383

/* A burst of INVITEs waits in the kernel instead of being lost; the kernel lowers it to net.core.[rw]mem_max. */
#define PJSIP_UDP_SO_RCVBUF_SIZE    (4 * 1024 * 1024)
#define PJSIP_UDP_SO_SNDBUF_SIZE    (4 * 1024 * 1024)

/* RFC 3261 18.1.1: any datagram must be taken. A smaller buffer cuts a message short and drops it without a word,
 * where a whole one can be answered with 513. */
#define PJSIP_MAX_PKT_LEN           65536

/* Ours, by contrast, are short, and each lives on for 32 s with its transaction: build-pjsua2 gives them buffers of
 * this size, twice pjsip's own bound. At 60 calls a second that halves the process. */
#define PJSIP_MAX_TX_LEN            8192

/* Proxies put tokens and their own state into URIs; past this length pjsip refuses the message. */
#define PJSIP_MAX_URL_SIZE          1024

/* More than 64 a=crypto lines overflow an array on the stack; with this cap the parser refuses them first. */
#define PJMEDIA_MAX_SDP_ATTR        60

/* An answer keeps comfort noise beside the codec: without this, only the first format of each kind stays. */
#define PJMEDIA_SDP_NEG_ANSWER_MULTIPLE_CODECS      1
