/* What pjsua2 does not offer of the transports: every message as it stood on the wire, and a listener that takes new
 * certificates while its connections stay.
 */
#ifndef GLOTGATE_PJSUA2_TAP_HPP
#define GLOTGATE_PJSUA2_TAP_HPP

#include <pjsua2.hpp>
#include <pjsua-lib/pjsua.h>
#include <pjsua-lib/pjsua_internal.h>
#include <string>
#include "pjsua2_names.hpp"

namespace pj
{

/** A message that was received, or that is about to be sent; retransmissions included. */
struct TapMessage
{
    bool        sent;
    std::string transport;  /**< UDP, TCP or TLS. */
    std::string localHost;  /**< What the transport shows as its own address. */
    int         localPort;
    std::string remoteHost;
    int         remotePort;
    std::string callId;
    std::string wholeMsg;

    TapMessage() : sent(false), localPort(0), remotePort(0) {}
};

/** The listener at the wire; there is at most one, installed after Endpoint::libInit(). */
class MessageTap
{
public:
    MessageTap() {}
    virtual ~MessageTap() { if (instance() == this) instance() = NULL; }

    /** Called on the thread that runs Endpoint::libHandleEvents(), or that sends. */
    virtual void onMessage(TapMessage &message) { PJ_UNUSED_ARG(message); }

    void install() PJSUA2_THROW(Error)
    {
        /* Next to the wire: what is received is parsed, and what is sent is printed. */
        static char name[] = "mod-glotgate-tap";
        static pjsip_module module;
        pj_bzero(&module, sizeof(module));
        module.name = pj_str(name);
        module.id = -1;
        module.priority = PJSIP_MOD_PRIORITY_TRANSPORT_LAYER - 1;
        module.on_rx_request = module.on_rx_response = &MessageTap::onRx;
        module.on_tx_request = module.on_tx_response = &MessageTap::onTx;
        pj_status_t status = pjsip_endpt_register_module(pjsua_get_pjsip_endpt(), &module);
        if (status != PJ_SUCCESS)
            throw Error(status, "MessageTap::install()", std::string(), __FILE__, __LINE__);
        instance() = this;
    }

private:
    MessageTap(const MessageTap &);
    MessageTap &operator=(const MessageTap &);

    static MessageTap *&instance()
    {
        static MessageTap *tap = NULL;
        return tap;
    }

    static void tell(TapMessage &message, const pjsip_transport *transport)
    {
        message.transport = transport->type_name;
        message.localHost.assign(transport->local_name.host.ptr, transport->local_name.host.slen);
        message.localPort = transport->local_name.port;
        instance()->onMessage(message);
    }

    static pj_bool_t onRx(pjsip_rx_data *rdata)
    {
        if (instance()) {
            TapMessage message;
            message.remoteHost = rdata->pkt_info.src_name;
            message.remotePort = rdata->pkt_info.src_port;
            message.callId.assign(rdata->msg_info.cid->id.ptr, rdata->msg_info.cid->id.slen);
            message.wholeMsg.assign(rdata->msg_info.msg_buf, rdata->msg_info.len);
            tell(message, rdata->tp_info.transport);
        }
        return PJ_FALSE;
    }

    static pj_status_t onTx(pjsip_tx_data *tdata)
    {
        if (instance()) {
            TapMessage message;
            const pjsip_cid_hdr *id = (const pjsip_cid_hdr *)pjsip_msg_find_hdr(tdata->msg, PJSIP_H_CALL_ID, NULL);
            message.sent = true;
            message.remoteHost = tdata->tp_info.dst_name;
            message.remotePort = tdata->tp_info.dst_port;
            if (id)
                message.callId.assign(id->id.ptr, id->id.slen);
            message.wholeMsg.assign(tdata->buf.start, tdata->buf.cur - tdata->buf.start);
            tell(message, tdata->tp_info.transport);
        }
        return PJ_SUCCESS;
    }
};

/** What Endpoint does not offer for its transports. */
class Transports
{
public:
    /** Open the listener again by this configuration. Its connections stay, with the certificate that they have. */
    static void restart(TransportId id, const TransportConfig &config) PJSUA2_THROW(Error)
    {
        HostNames::System asked;
        pjsua_transport_config prm = config.toPj();
        pj_status_t status = pjsua_transport_lis_restart(id, &prm);
        if (status != PJ_SUCCESS)
            throw Error(status, "Transports::restart()", std::string(), __FILE__, __LINE__);
    }

    /** Keep a call that has just come in, by UDP, to the address that it came in by: its Contact and its responses.
     *  With several addresses pjsua would show the first, which the caller may not be able to reach. */
    static void keep(int callId, const SipRxData &message) PJSUA2_THROW(Error)
    {
        const pjsip_rx_data *rdata = (const pjsip_rx_data *)message.pjRxData;
        pjsip_transport *transport = rdata->tp_info.transport;
        pjsip_inv_session *inv = pjsua_var.calls[callId].inv;
        if (!inv || (transport->key.type & ~PJSIP_TRANSPORT_IPV6) != PJSIP_TRANSPORT_UDP)
            return;
        pjsip_dialog *dialog = inv->dlg;
        pjsip_sip_uri *uri = (pjsip_sip_uri *)pjsip_uri_get_uri(dialog->local.contact->uri);
        pj_strdup(dialog->pool, &uri->host, &transport->local_name.host);
        uri->port = transport->local_name.port;
        pjsip_tpselector selector;
        pj_bzero(&selector, sizeof(selector));
        selector.type = PJSIP_TPSELECTOR_TRANSPORT;
        selector.u.transport = transport;
        pj_status_t status = pjsip_dlg_set_transport(dialog, &selector);
        if (status != PJ_SUCCESS)
            throw Error(status, "Transports::keep()", std::string(), __FILE__, __LINE__);
    }

    /** How often connections made from now on send a CRLF when nothing else is sent; 0: never. */
    static void keepAlive(unsigned seconds)
    {
        pjsip_cfg()->tcp.keep_alive_interval = seconds;
        pjsip_cfg()->tls.keep_alive_interval = seconds;
    }
};

} // namespace pj

#endif
