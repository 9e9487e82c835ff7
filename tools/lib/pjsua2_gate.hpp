/* A door in front of pjsua: each request that is no retransmission is shown to the application before a
 * dialog, a transaction or a call exists for it, and may be answered without state, or dropped.
 *
 * pjsua2 has no such callback: it answers OPTIONS with 200 whatever the state of the service, leaves REGISTER
 * and unknown methods without an answer, and builds a whole call for each INVITE of a scanner.
 */
#ifndef GLOTGATE_PJSUA2_GATE_HPP
#define GLOTGATE_PJSUA2_GATE_HPP

#include <pjsua2.hpp>
#include <pjsua-lib/pjsua.h>
#include <string>

namespace pj
{

/** A request at the door. */
struct GateRequest
{
    std::string method;
    std::string source;    /**< IP address, without brackets. */
    int         port;
    std::string transport; /**< UDP, TCP or TLS. */
    bool        toTag;     /**< It claims to be in a dialog. */
    bool        inDialog;  /**< It is in one of ours. */
    std::string wholeMsg;

    int             code;    /**< To be set: 0 lets it in, -1 drops it, else the status code of the answer. */
    std::string     reason;  /**< The answer's reason phrase, empty for the usual one. */
    SipHeaderVector headers; /**< Of the answer. */

    GateRequest() : port(0), toTag(false), inDialog(false), code(0) {}
};

/** The doorkeeper; there is at most one, installed after Endpoint::libInit(). */
class RequestGate
{
public:
    RequestGate() {}
    virtual ~RequestGate() { if (instance() == this) instance() = NULL; }

    /** Called on the thread that runs Endpoint::libHandleEvents(). An ACK is never answered. */
    virtual void onRequest(GateRequest &request) { PJ_UNUSED_ARG(request); }

    void install() PJSUA2_THROW(Error)
    {
        /* After the transaction layer, which takes retransmissions; before dialogs and pjsua. */
        static char name[] = "mod-glotgate-gate";
        static pjsip_module module;
        pj_bzero(&module, sizeof(module));
        module.name = pj_str(name);
        module.id = -1;
        module.priority = PJSIP_MOD_PRIORITY_UA_PROXY_LAYER - 1;
        module.on_rx_request = &RequestGate::onRxRequest;
        pj_status_t status = pjsip_endpt_register_module(pjsua_get_pjsip_endpt(), &module);
        if (status != PJ_SUCCESS)
            throw Error(status, "RequestGate::install()", std::string(), __FILE__, __LINE__);
        instance() = this;
    }

private:
    RequestGate(const RequestGate &);
    RequestGate &operator=(const RequestGate &);

    static RequestGate *&instance()
    {
        static RequestGate *gate = NULL;
        return gate;
    }

    static pj_bool_t onRxRequest(pjsip_rx_data *rdata)
    {
        pjsip_msg *msg = rdata->msg_info.msg;
        if (!instance())
            return PJ_FALSE;

        GateRequest request;
        const pj_str_t &method = msg->line.req.method.name;
        const pj_str_t &tag = rdata->msg_info.to->tag;
        request.method.assign(method.ptr, method.slen);
        request.source = rdata->pkt_info.src_name;
        request.port = rdata->pkt_info.src_port;
        request.transport = rdata->tp_info.transport->type_name;
        request.toTag = tag.slen > 0;
        if (request.toTag) {
            request.inDialog = pjsip_ua_find_dialog(&rdata->msg_info.cid->id, &tag, &rdata->msg_info.from->tag,
                                                    PJ_FALSE) != NULL;
        }
        request.wholeMsg.assign(rdata->msg_info.msg_buf, rdata->msg_info.len);

        instance()->onRequest(request);
        if (request.code == 0)
            return PJ_FALSE;
        if (request.code > 0 && msg->line.req.method.id != PJSIP_ACK_METHOD)
            answer(rdata, request);
        return PJ_TRUE;
    }

    static void answer(pjsip_rx_data *rdata, const GateRequest &request)
    {
        pj_pool_t *pool = rdata->tp_info.pool;
        pjsip_hdr list;
        pj_list_init(&list);
        for (size_t i = 0; i < request.headers.size(); ++i) {
            pj_str_t name = pj_str((char *)request.headers[i].hName.c_str());
            pj_str_t value = pj_str((char *)request.headers[i].hValue.c_str());
            pj_list_push_back(&list, pjsip_generic_string_hdr_create(pool, &name, &value));
        }
        pj_str_t reason = pj_str((char *)request.reason.c_str());
        pjsip_endpt_respond_stateless(pjsua_get_pjsip_endpt(), rdata, request.code,
                                      request.reason.empty() ? NULL : &reason, &list, NULL);
    }
};

} // namespace pj

#endif
